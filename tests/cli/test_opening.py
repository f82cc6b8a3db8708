"""What the commands of circuits open: names of files, and folders that hold no atlas, no cells or no model."""

from __future__ import annotations

import pytest

from cellglass.cli.opening import cells_of, in_atlas, model_of, slug
from cellglass.errors import InputError


def test_names_are_made_into_names_of_files(tmp_path) -> None:
    assert slug("CD4+/CD25 T Reg") == "CD4-CD25-T-Reg"
    assert slug("") == "cell"
    (tmp_path / "manifest.json").write_text("{}")
    assert in_atlas(tmp_path, "AAAC-1") == tmp_path / "circuits" / "AAAC-1.json"
    assert in_atlas(tmp_path, "classes", "B cell") == tmp_path / "circuits" / "classes" / "B-cell.json"


def test_a_folder_that_lacks_what_is_asked_is_one_line(tmp_path) -> None:
    with pytest.raises(InputError, match="is a model and no atlas; say with --out"):
        in_atlas(tmp_path, "AAAC-1")
    with pytest.raises(InputError, match="is no atlas, so it holds no cells; give --cells"):
        cells_of(tmp_path, None, [None])
    (tmp_path / "manifest.json").write_text('{"schema_version": 1, "stages": {}}')
    with pytest.raises(InputError, match="no longer keeps its cells"):
        cells_of(tmp_path, None, ["type", None])
    with pytest.raises(InputError, match="no longer keeps its model"):
        model_of(tmp_path)

"""What the commands of circuits open: folders that hold no atlas, no cells or no model are said to."""

from __future__ import annotations

import pytest

from cellglass.cli.opening import cells_of, circuits_of, class_circuits_of, model_of
from cellglass.errors import InputError


def test_a_folder_that_lacks_what_is_asked_is_one_line(tmp_path) -> None:
    with pytest.raises(InputError, match="is a model and no atlas; say with --out"):
        circuits_of(tmp_path)
    with pytest.raises(InputError, match="is a model and no atlas; say with --out"):
        class_circuits_of(tmp_path)
    with pytest.raises(InputError, match="is no atlas, so it holds no cells; give --cells"):
        cells_of(tmp_path, None, [None])
    (tmp_path / "manifest.json").write_text('{"schema_version": 1, "stages": {}}')
    with pytest.raises(InputError, match="no longer keeps its cells"):
        cells_of(tmp_path, None, ["type", None])
    with pytest.raises(InputError, match="no longer keeps its model"):
        model_of(tmp_path)

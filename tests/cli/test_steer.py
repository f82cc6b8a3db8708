"""What the words of `cellglass steer` mean; what it does is tested with the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from cellglass.atlas import open_atlas
from cellglass.cli.steer import _concepts, _group, _target
from cellglass.errors import InputError
from synthetic import make_atlas


def test_groups_are_labels_with_values() -> None:
    assert _group("--from", ["cell_type=B cells", "state=x=y"]) == {"cell_type": "B cells", "state": "x=y"}
    for word in ("cell_type", "=B", "cell_type="):
        with pytest.raises(InputError, match=r"--from .*: write LABEL=VALUE"):
            _group("--from", [word])


def test_concepts_are_names_numbers_and_lists(tmp_path: Path) -> None:
    atlas = open_atlas(make_atlas(tmp_path / "atlas", n_cells=120))
    first = str(atlas.concepts.var_names[0])
    assert _concepts(atlas, [first, "3, 4", "a,b"]) == [first, 3, 4, "a", "b"]


def test_the_table_goes_into_a_file(tmp_path: Path) -> None:
    assert _target(tmp_path, None) == tmp_path / "steering.csv"
    with pytest.raises(InputError, match="is a folder"):
        _target(tmp_path, tmp_path)
    with pytest.raises(InputError, match=r"ends in .csv or .parquet"):
        _target(tmp_path, tmp_path / "table.xlsx")


def test_an_atlas_that_keeps_no_cells_says_so(command: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    make_atlas(tmp_path / "atlas", n_cells=120)
    status, _, error = command("steer", tmp_path / "atlas", "--from", "a=1", "--to", "a=2")
    assert status == 2
    assert error.startswith("cellglass: ")
    assert "gone, so there are no cells to move" in error

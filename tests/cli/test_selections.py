"""The command of selections: what it prints, what it writes, and wrong use in one line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import anndata
import numpy as np

from cellglass.atlas import open_atlas
from cellglass.explorer.data.source import Source
from cellglass.explorer.notes.place import open_notes
from cellglass.explorer.selections.bits import pack, to_text
from cellglass.explorer.selections.store import selections_of
from synthetic import make_atlas

Outcome = tuple[int, str, str]


def test_selections_are_listed_merged_exported_and_written(command: Callable[..., Outcome], tmp_path: Path) -> None:
    atlas = make_atlas(tmp_path / "atlas", n_cells=60)
    status, out, err = command("selections", atlas)
    assert (status, out) == (2, "")
    assert "there are no notes yet" in err
    opened = open_atlas(atlas)
    with open_notes(opened) as notes:
        kept = selections_of(notes, Source(opened))
        bits = to_text(pack(np.array([0, 5, 59]), 60))
        kept.add({"name": "mine", "who": "Ada", "how": "lasso", "cells": kept.cells, "bits": bits})
    status, out, _ = command("selections", atlas, "--export", tmp_path / "s.json")
    assert (status, "3 cells  mine  (Ada, " in out) == (0, True)
    copy = Path(shutil.copytree(atlas, tmp_path / "copy", ignore=shutil.ignore_patterns("annotations*")))
    told = json.loads(command("selections", copy, "--merge", tmp_path / "s.json", "--json")[1])
    assert (told["merged"], told["selections"][0]["name"]) == (1, "mine")
    command("selections", copy, "--export", tmp_path / "s.csv")
    assert (tmp_path / "s.csv").read_text().split() == ["selection,cell", "mine,cell-0", "mine,cell-5", "mine,cell-59"]
    cells = anndata.AnnData(np.zeros((58, 1), dtype=np.float32), obs={"_": [0] * 58})
    cells.obs_names = [f"cell-{i}" for i in range(58)]
    cells.write_h5ad(tmp_path / "my.h5ad")
    status, out, _ = command("selections", copy, "--into", tmp_path / "my.h5ad", "--in-place")
    assert status == 0
    assert "obs columns: mine (2 cells)" in out
    assert "1 selected cells are not in the file: cell-59" in out
    assert anndata.read_h5ad(tmp_path / "my.h5ad").obs["mine"].to_numpy().nonzero()[0].tolist() == [0, 5]
    for wrong in (["--out", "x"], ["--into", "x.h5ad"], ["--into", "x.h5ad", "--out", "y", "--in-place"]):
        status, _, err = command("selections", copy, *wrong)
        assert (status, err.count("\n")) == (2, 1)
    other = make_atlas(tmp_path / "other", n_cells=61)
    status, _, err = command("selections", other, "--merge", tmp_path / "s.json")
    assert (status, "of other cells" in err) == (2, True)

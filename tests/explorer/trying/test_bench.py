"""What the server is started with: whatever does not fit is one line, and nothing is opened before it is needed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cellglass.atlas import open_atlas, schema
from cellglass.errors import InputError
from cellglass.explorer.trying.bench import Bench, Given, label_of
from explorer.conftest import Tried


def test_what_belongs_together_is_opened_at_the_first_try_and_kept(tried: Tried) -> None:
    bench = Bench(open_atlas(tried.folder), Given(transcoders=tried.transcoders))
    bench.check()
    assert bench.column == "cell type"
    assert "opened" not in vars(bench)
    opened = bench.opened
    assert opened is bench.opened
    assert opened.cells.n_cells == 60
    assert opened.transcoders is not None
    alone = Bench(bench.atlas, Given(model=tried.folder / schema.MODEL))
    alone.check()
    assert (alone.column, alone.opened.transcoders) == (None, None)
    named = Bench(bench.atlas, Given(model=tried.folder, cells=tried.folder / schema.CELLS))
    named.check()
    assert named.opened.cells.n_cells == 60


def test_a_circuit_says_what_its_cells_are() -> None:
    assert label_of({"labels": "type", "class": "B", "target": "T"}, "other") == ("type", "B")
    assert label_of({"target": "T"}, "other") == ("other", "T")
    assert label_of({}, None) == (None, "")


def changed(folder: Path, to: Path, **model: Any) -> Path:
    shutil.copytree(folder, to)
    held = json.loads((to / "transcoders.json").read_text())
    held["model"] |= model
    (to / "transcoders.json").write_text(json.dumps(held))
    return to


def test_what_does_not_fit_is_one_line(tried: Tried, tmp_path: Path) -> None:
    atlas = open_atlas(tried.folder)
    scvi = tmp_path / "scvi"
    scvi.mkdir()
    (scvi / "cfg.json").write_text('{"kind": "scvi"}')
    bare = open_atlas(shutil.copytree(tried.folder, tmp_path / "bare", ignore=shutil.ignore_patterns("work")))
    other = changed(tried.transcoders, tmp_path / "other", kind="scgpt")
    weights = changed(tried.transcoders, tmp_path / "weights", fingerprint="0" * 64)
    model = tried.folder / schema.MODEL
    for given, of, says in (
        (Given(model=tmp_path / "nowhere"), atlas, "--model .*nowhere: there is no such folder"),
        (Given(model=tmp_path), atlas, "holds no model"),
        (Given(model=scvi), atlas, "of kind scvi; circuits are of"),
        (Given(), bare, "no longer keeps its model"),
        (Given(model=model), bare, "no longer keeps its cells"),
        (Given(transcoders=tmp_path), atlas, "no transcoders are here"),
        (Given(transcoders=other), atlas, "they are of a scgpt, and the model is a cell2sentence"),
        (Given(transcoders=weights), atlas, "of another model than every circuit"),
        (Given(cells=tmp_path / "no.h5ad"), atlas, "--cells .*no.h5ad: there is no such file"),
    ):
        with pytest.raises(InputError, match=says) as error:
            Bench(of, given).check()
        assert "\n" not in str(error.value)
    none = open_atlas(shutil.copytree(tried.folder, tmp_path / "none", ignore=shutil.ignore_patterns("circuits")))
    bench = Bench(none, Given(transcoders=weights))
    bench.check()  # no circuit says which model it is of, so weights have to be read
    with pytest.raises(InputError, match="belong to another model"):
        _ = bench.opened

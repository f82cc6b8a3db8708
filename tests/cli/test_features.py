"""`cellglass circuits features`: from a folder of transcoders to tables, names in traces; wrong use in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from cellglass.circuits import read_graph
from circuits.models import LATENTS
from evaluation.features import planted, some_cells


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of cells, a model and its transcoders."""
    folder = tmp_path_factory.mktemp("features")
    model, transcoders, _ = planted()
    some_cells().to_anndata().write_h5ad(folder / "my.h5ad")
    model.save(folder / "model")
    transcoders.save(folder / "t")
    return folder


def features(command, place, *more, transcoders="t"):
    return command(
        "circuits", "features", place / transcoders, "--model", place / "model", "--cells", place / "my.h5ad", *more
    )


def test_features_are_explained_shown_and_named_in_traces(command, place) -> None:
    status, out, err = features(command, place, "--controls")
    assert status == 0, err
    lines = out.splitlines()
    heads = [line.split()[0] for line in lines if line.startswith(("features ", "random ", "neurons ", "untrained "))]
    assert heads == ["features", "random", "neurons", "untrained"]
    assert "20 features, drawn at random; named by machine:" in out
    assert sum(line.startswith(("L0/", "L1/")) for line in lines) == 20
    assert lines[-1] == f"Wrote {place / 't' / 'features.csv'}"
    assert "what neurons fire on" in err
    table = pd.read_csv(place / "t" / "features.csv")
    assert len(table) == 2 * LATENTS
    # The same again has nothing left to do; labels are those of the transcoders.
    status, out, err = features(command, place, "--controls", "--labels", "type", "--json")
    found = json.loads(out)
    assert (status, err) == (0, "")
    assert [row["of"] for row in found["rates"]] == ["features", "random directions", "neurons", "untrained model"]
    assert len(found["drawn"]) == 20
    options = ("--cells", place / "my.h5ad", "--transcoders", place / "t", "--cell", "c0", "--out", place / "g.json")
    status, out, err = command("trace", place / "model", "--target", "B cell", "--no-delete", *options)
    assert status == 0, err
    labels = read_graph(place / "g.json").nodes.query("kind == 'feature'")["label"]
    assert labels.str.startswith("fires on ").any()


@pytest.mark.parametrize(
    ("more", "transcoders", "named"),
    [
        ((), "nowhere", "no transcoders are here"),
        (("--labels", "celltypo"), "copy", "celltypo"),
        (("--gene-sets", "nowhere.gmt"), "copy", "no such file and no such source"),
        (("--n-cells", "4"), "copy", "4 cells are too few"),
        (("--n-cells", "few"), "copy", "--n-cells"),
    ],
)
def test_wrong_use_is_one_line_and_writes_nothing(more, transcoders, named, command, place) -> None:
    shutil.copytree(place / "t", place / "copy", ignore=shutil.ignore_patterns("feature*", ".lock"), dirs_exist_ok=True)
    before = sorted(path.name for path in (place / "copy").iterdir())
    status, out, err = features(command, place, *more, transcoders=transcoders)
    assert (status, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("cellglass: ")
    assert named in err
    assert sorted(path.name for path in (place / "copy").iterdir()) == before

"""Which neuron is most like a concept, and its column, against a dense computation."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from cellglass.activations import open_store
from cellglass.atlas import open_atlas
from cellglass.atlas.read import Atlas
from cellglass.explorer import Tree
from cellglass.explorer.data import neighbours
from cellglass.explorer.data.columns import from_bytes


def dense(atlas: Atlas) -> np.ndarray:
    x = open_store(atlas.path / "work" / "activations").read("cell").numpy().astype(np.float64)
    centred = x - x.mean(axis=0)
    return np.maximum(np.hstack([centred, -centred]), 0)


def test_the_most_alike_are_those_of_numpy(atlas: Atlas, tree: Tree) -> None:
    found = json.loads(tree.get("data/neurons.json"))
    assert {name: found[name] for name in ("n", "axes", "cells")} == {"n": 32, "axes": 16, "cells": 700}
    activations = atlas.concepts.X.toarray().astype(np.float64)
    for place, latent in enumerate(atlas.concepts.var["latent"]):
        own = activations[:, place]
        if not own.any():
            assert str(latent) not in found["alike"]
            continue
        with_each = np.array([np.corrcoef(own, answers)[0, 1] for answers in dense(atlas).T])
        named, told = zip(*found["alike"][str(latent)], strict=True)
        best = np.sort(with_each)[::-1][:3]
        assert len(set(named)) == 3
        np.testing.assert_allclose(with_each[list(named)], best, rtol=0, atol=1e-6)
        np.testing.assert_allclose(told, best, rtol=1e-3)


def test_of_many_cells_a_sample_is_asked(full_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MAX_CELLS", 300)
    atlas = open_atlas(full_folder)
    tree = Tree(atlas)
    sample = tree.neighbours.sample
    assert len(sample) == 300
    both = np.hstack([atlas.concepts.X.toarray()[sample], dense(atlas)[sample]])
    wanted = np.corrcoef(both[:, :23].T, both[:, 24:].T)[:23, 23:]
    np.testing.assert_allclose(tree.neurons.correlations[:23], wanted, atol=1e-5)


def test_a_column_holds_the_cells_in_which_it_answers(atlas: Atlas, tree: Tree) -> None:
    for number in (0, 17, 31):
        column = from_bytes(tree.get(f"data/neurons/{number}.bin"))
        answers = dense(atlas)[:, number]
        assert (np.diff(column.rows.astype(int)) > 0).all()
        assert (column.values > 0).all()
        found = np.zeros(len(answers))
        found[column.rows] = column.values
        np.testing.assert_allclose(found, answers, rtol=1e-4, atol=1e-5)
    with pytest.raises(KeyError):
        tree.get("data/neurons/32.bin")


def test_an_export_holds_the_ones_that_are_named_first(tree: Tree) -> None:
    first = {rows[0][0] for rows in json.loads(tree.get("data/neurons.json"))["alike"].values()}
    listed = {path for path in tree.paths() if path.startswith("data/neurons/")}
    assert listed == {f"data/neurons/{number}.bin" for number in first}


def test_without_activations_there_are_none(full_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    shutil.rmtree(folder / "work")
    tree = Tree(open_atlas(folder))
    assert json.loads(tree.get("data/neurons.json")) == {"n": 0, "axes": 0, "cells": 700, "alike": {}}
    assert not [path for path in tree.paths() if path.startswith("data/neurons/")]
    with pytest.raises(KeyError):
        tree.get("data/neurons/0.bin")

"""Clusters and components of the site as columns of the cells, against their dictionaries."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np

from cellglass.activations import open_store
from cellglass.atlas import open_atlas
from cellglass.atlas.read import Atlas
from cellglass.explorer import Tree


def test_they_are_what_the_dictionaries_say(atlas: Atlas, tree: Tree) -> None:
    listed = tree.bases.listed
    assert [one["name"] for one in listed] == ["k-means clusters", "PC 1", "PC 2", "PC 3"]
    assert listed[0]["values"] == [str(i) for i in range(1, 12)]
    x = open_store(atlas.path / "work" / "activations").read("cell").float()
    codes = np.frombuffer(tree.get(listed[0]["file"]), "u1")
    np.testing.assert_array_equal(codes, atlas.dictionary("clusters").encode(x).indices[:, 0] + 1)
    scores = np.stack([np.frombuffer(tree.get(one["file"]), "<f4") for one in listed[1:]], axis=1)
    pca = atlas.dictionary("pca")
    np.testing.assert_allclose(scores, (x - pca.centre) @ pca.analysis.T, rtol=1e-4, atol=1e-5)


def test_without_activations_there_are_none(full_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    shutil.rmtree(folder / "work")
    tree = Tree(open_atlas(folder))
    assert tree.bases.listed == []
    assert not [path for path in tree.paths() if path.startswith("data/bases/")]

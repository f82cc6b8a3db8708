from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from cellglass.atlas import open_atlas
from cellglass.atlas.read import Atlas
from cellglass.errors import DamagedError
from cellglass.explorer import Tree
from cellglass.explorer.data import facts
from cellglass.explorer.data import tree as module
from cellglass.explorer.data.columns import from_bytes
from cellglass.explorer.data.search_index import GENE_SHARD
from explorer.conftest import FINDINGS


class Whole(NamedTuple):
    """An atlas and all files of a tree over it, asked for one after the other."""

    atlas: Atlas
    paths: list[str]
    files: dict[str, bytes]


def whole(folder: Path) -> Whole:
    atlas = open_atlas(folder)
    tree = Tree(atlas)
    paths = list(tree.paths())
    return Whole(atlas, paths, {path: tree.get(path) for path in paths})


@pytest.fixture(scope="module")
def full(full_folder: Path) -> Whole:
    return whole(full_folder)


@pytest.fixture(params=["full_folder", "token_folder", "bare_folder"], scope="module")
def any_whole(request: pytest.FixtureRequest) -> Whole:
    name: str = request.param
    found: Whole = request.getfixturevalue("full") if name == "full_folder" else whole(request.getfixturevalue(name))
    return found


@pytest.mark.slow
def test_every_path_has_a_file_and_no_path_comes_twice(any_whole: Whole) -> None:
    assert len(set(any_whole.paths)) == len(any_whole.paths) > 20
    for path, content in any_whole.files.items():
        if path.endswith(".json"):
            json.loads(content, parse_constant=pytest.fail)  # NaN is no JSON


@pytest.mark.slow
def test_two_trees_give_the_same_bytes_whatever_is_asked_first(any_whole: Whole) -> None:
    other = Tree(open_atlas(any_whole.atlas.path))
    assert list(other.paths()) == any_whole.paths
    assert all(other.get(path) == any_whole.files[path] for path in reversed(any_whole.paths))


HASHES = """
import hashlib, sys
from cellglass.atlas import open_atlas
from cellglass.explorer import Tree
tree = Tree(open_atlas(sys.argv[1]))
for path in tree.paths():
    print(path, hashlib.sha256(tree.get(path)).hexdigest())
"""


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(full_folder: Path, full: Whole) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", HASHES, str(full_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=300)
    expected = [f"{path} {hashlib.sha256(full.files[path]).hexdigest()}" for path in full.paths]
    assert done.stdout.splitlines() == expected


def test_a_part_that_cannot_be_read_spoils_its_own_files_alone(full_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    (folder / "expression.zarr" / "X" / "zarr.json").write_text("{")
    tree = Tree(open_atlas(folder))
    for path in ("data/expression/0.bin", "data/pairs/0.json"):
        with pytest.raises(DamagedError, match=r"expression\.zarr"):
            tree.get(path)
    for path in ("data/activations/0.bin", "data/cards/0.json", "data/labels/0.bin", "data/concepts.json"):
        assert tree.get(path)


def test_the_files_of_the_plan_are_there(tree: Tree) -> None:
    expected = {
        *(
            f"data/{name}.json"
            for name in ("manifest", "concepts", "genes", "terms", "neurons", "circuits", "cells-id")
        ),
        "data/xy.bin",
        *(f"data/labels/{i}.bin" for i in range(3)),
        *(f"data/heatmaps/{i}.json" for i in range(2)),
        "data/cells/0.json",
        *(f"data/activations/{i}.bin" for i in range(24)),
        *(f"data/cards/{i}.json" for i in range(-(-24 // facts.CARD_SHARD))),
        *(f"data/pairs/{i}.json" for i in range(FINDINGS)),
        *(f"data/expression/{i}.bin" for i in range(124)),
        *(f"data/{name}/{i}.json" for name in ("gene-concepts", "gene-groups") for i in range(-(-124 // GENE_SHARD))),
        *(f"data/all-genes/{i}.json" for i in range(FINDINGS)),
        *(f"data/bases/{i}.bin" for i in range(4)),
        "data/term-concepts/0.json",
        *(f"data/neurons/{i}.bin" for i in tree.neurons.shown),
        *(f"data/{name}/{i}.json" for name in ("circuits", "circuit-files", "neuronpedia") for i in (0, 1, 3)),
        *(f"data/circuit-features/{i}.json" for i in tree.circuits.features),
    }
    assert set(tree.paths()) == expected
    assert "data/neurons/31.bin" in tree  # also those that an export leaves out
    assert "data/neurons/32.bin" not in tree


@pytest.mark.parametrize(
    "path",
    [
        "", "/", "data", "data/", "manifest.json", "/data/manifest.json", "data//manifest.json", "./data/manifest.json",
        "data/manifest.json/", "data/manifest.json\n", "data/manifest.json\0", "DATA/manifest.json",
        "data/../data/manifest.json", "data/..%2fmanifest.json", "data%2Fmanifest.json", "data\\manifest.json",
        "data/cards/../manifest.json", "data/cards/00.json", "data/cards/-1.json", "data/cards/+1.json",
        "data/cards/1e0.json", "data/cards/0.bin", "data/cards/ 0.json", "data/cards/24.json", "data/cards/٠.json",
        "data/activations/01.bin", "data/activations/24.bin", "data/activations/0.json", "data/activations/0.bin\n",
        "data/expression/124.bin", "data/labels/3.bin", "data/heatmaps/2.json", "data/cells/1.json",
        "data/pairs/23.json",
        "data/gene-concepts/4.json", "data/term-concepts/1.json", "data/notes.json", "data/nothing/0.json",
        "data/circuits/2.json", "data/circuits/by-hand.json", "data/circuits/../manifest.json",
        "data/neuronpedia/-1.json",
        "data/circuit-files/2.json", "data/circuit-files/0.bin", "data/circuit-features/0.json",
        "data/activations/99999999999999999999.bin", "../../../etc/passwd", "file:///etc/passwd",
    ],
)  # fmt: skip
def test_what_is_not_exactly_a_path_is_a_key_error(tree: Tree, path: str) -> None:
    assert path not in tree
    with pytest.raises(KeyError):
        tree.get(path)


def test_columns_are_those_of_the_atlas(tree: Tree, atlas: Atlas) -> None:
    dense, counts = atlas.concepts.X.toarray(), atlas.expression.to_memory().X.toarray()
    scale = 1e4 / counts.sum(axis=1)
    for position, latent in enumerate(atlas.concepts.var["latent"]):
        rows, values = from_bytes(tree.get(f"data/activations/{latent}.bin"))
        np.testing.assert_array_equal(rows, np.flatnonzero(dense[:, position]))
        np.testing.assert_array_equal(values, dense[rows, position])
    for gene in range(counts.shape[1]):
        rows, values = from_bytes(tree.get(f"data/expression/{gene}.bin"))
        np.testing.assert_array_equal(rows, np.flatnonzero(counts[:, gene]))
        np.testing.assert_allclose(values, np.log1p(counts[rows, gene] * scale[rows]), rtol=1e-5)


def test_the_whole_matrix_is_never_read(full: Whole) -> None:
    assert "concepts" not in full.atlas.__dict__
    assert "expression" not in full.atlas.__dict__


def test_what_is_kept_is_bounded(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 20_000)
    tree = Tree(atlas)
    for path in tree.paths():
        first = tree.get(path)
        assert tree._size == sum(map(len, tree._kept.values())) <= 20_000
        assert tree.get(path) == first
    assert tree._kept


def test_many_threads_get_the_same_files(atlas: Atlas, full: Whole) -> None:
    shared = Tree(atlas)
    paths = full.paths[::3] * 3
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(shared.get, paths)) == [full.files[path] for path in paths]


def test_warm_makes_what_is_shared(atlas: Atlas) -> None:
    tree = Tree(atlas)
    tree.warm()
    assert {"by_gene", "by_term"} <= set(tree.search_index.__dict__)


@pytest.mark.parametrize(
    ("broken", "path"),
    [
        ("genes.parquet", "data/manifest.json"),
        ("pathways.parquet", "data/concepts.json"),
        ("pairs.parquet", "data/cards/0.json"),
        ("concepts.zarr/X/data/c/0", "data/activations/0.bin"),
        ("concepts.zarr/X/indptr/zarr.json", "data/activations/0.bin"),
        ("concepts.zarr/var/latent/c/0", "data/concepts.json"),
        ("concepts.zarr/obsm/X_umap/c/0/0", "data/xy.bin"),
        ("expression.zarr/X/indices/c/0", "data/expression/0.bin"),
        ("dictionaries/concepts/weights.safetensors", "data/cards/0.json"),
    ],
)
def test_a_damaged_part_is_an_input_error_that_names_it(
    full_folder: Path, tmp_path: Path, broken: str, path: str
) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    (folder / broken).write_bytes(b"\x00broken")
    with pytest.raises(DamagedError) as caught:
        Tree(open_atlas(folder)).get(path)
    assert broken.split("/")[0] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_atlas_without_a_part_still_works(full_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    (folder / "pairs.parquet").unlink()
    shutil.rmtree(folder / "dictionaries")
    tree = Tree(open_atlas(folder))
    manifest, cards = (json.loads(tree.get(path)) for path in ("data/manifest.json", "data/cards/0.json"))
    assert manifest["has_pairs"] is False
    assert cards["0"]["nearest"] == cards["0"]["pairs"] == []
    assert cards["0"]["coactive"]
    assert not any(path.startswith("data/pairs/") for path in tree.paths())

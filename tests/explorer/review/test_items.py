"""What is shown of an item against a dense computation, and that all kinds are shown alike."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cellglass.activations import SiteBatch, Writer, open_store
from cellglass.activations.manifest import StoredSite
from cellglass.atlas import open_atlas
from cellglass.atlas.columns import Column
from cellglass.atlas.markers.rank_sum import Marker, top_k
from cellglass.atlas.read import Atlas
from cellglass.dictionaries.baselines.random import RandomDirections
from cellglass.errors import DamagedError
from cellglass.explorer import Tree
from cellglass.explorer.data import responses
from cellglass.explorer.data.columns import from_bytes
from cellglass.explorer.review import items
from cellglass.explorer.review.items import Evidence, most_active
from cellglass.explorer.review.session import Item, draw_items
from explorer.conftest import FINDINGS

ITEMS = [Item(kind, number, size) for kind in ("neuron", "random") for number, size in [(0, 40), (3, 9), (19, 500)]]


@pytest.fixture
def evidence(atlas: Atlas, tree: Tree) -> Evidence:
    return Evidence(atlas, tree, Marker(atlas))


def dense(atlas: Atlas, kind: str) -> np.ndarray:
    """Responses of all latents in all cells, written out: (cells, latents)."""
    x = open_store(atlas.path / "work" / "activations").read("cell").numpy().astype(np.float64)
    dictionary = atlas.dictionary({"neuron": "neurons", "random": "random"}[kind])
    centred = x - x.mean(axis=0)
    axes = np.eye(16) if kind == "neuron" else dictionary.analysis.numpy().astype(np.float64)
    found = np.array([[cell @ axis for axis in axes] for cell in centred])
    return np.hstack([found, -found])


def assert_most_active(shown: Column, values: np.ndarray, size: int, atol: float) -> None:
    """Assert that the `size` cells of the largest values are shown with their ranks; values within `atol` are alike."""
    rows, ranks = shown
    assert (np.diff(rows.astype(int)) > 0).all()
    order = np.argsort(-ranks)
    np.testing.assert_allclose(ranks[order], 1 - np.arange(size) / size, rtol=1e-6)
    np.testing.assert_allclose(values[rows[order]], np.sort(values)[::-1][:size], rtol=0, atol=atol)


@pytest.mark.parametrize("room", [1 << 26, 1])
def test_neurons_and_random_directions_are_the_dense_responses(
    evidence: Evidence, atlas: Atlas, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(items, "ROOM", room)
    monkeypatch.setattr(responses, "BATCH", 300)
    evidence.prepare(ITEMS)
    for item in ITEMS:
        column = from_bytes(evidence.activation(item))
        assert_most_active(column, dense(atlas, item.kind)[:, item.number], item.size, atol=1e-5)


def test_of_tokens_the_largest_of_a_cell_counts(full_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    shutil.rmtree(folder / "work")
    rng = np.random.default_rng(5)
    cell = np.repeat(np.arange(700), rng.integers(1, 5, 700))
    values = torch.from_numpy(rng.normal(size=(len(cell), 16)).astype(np.float32))
    writer = Writer(folder / "work" / "activations", 700, "tokens", {"t": StoredSite(16, "token")})
    writer.add(700, {"t": SiteBatch(values, cell, np.zeros(len(cell), dtype=np.int64))})
    writer.close()
    atlas = open_atlas(folder)
    centre = atlas.dictionary("neurons").centre.numpy()
    responses = values.numpy() - centre
    for number, sign in ((2, 1), (18, -1)):  # 16 axes, each with two signs
        best = np.array([(sign * responses[cell == one, 2]).max() for one in range(700)])
        found = from_bytes(Evidence(atlas, Tree(atlas), Marker(atlas)).activation(Item("neuron", number, 60)))
        assert_most_active(found, best, 60, atol=1e-5)


def test_concepts_are_their_most_active_cells(
    evidence: Evidence, atlas: Atlas, monkeypatch: pytest.MonkeyPatch
) -> None:
    activations = atlas.concepts.X.toarray()
    sizes = evidence.concepts()
    active = (activations > 0).sum(axis=0).tolist()
    assert sizes == {c: min(active[c], 700 // 4) for c in range(FINDINGS)}  # residual ones are no findings
    monkeypatch.setattr(items, "MOST_OF_ALL", 1 / 70)
    assert evidence.concepts() == {latent: min(active[latent], 10) for latent in range(FINDINGS)}
    monkeypatch.setattr(items, "MOST_OF_ALL", 0.25)
    for latent in (0, 7, 17):
        shown = Column(*evidence.cells(Item("concept", latent, sizes[latent])))
        assert_most_active(shown, activations[:, latent], sizes[latent], atol=0)
    monkeypatch.setattr(items, "MOST_SHOWN", 30)
    assert evidence.concepts() == {latent: min(size, 30) for latent, size in sizes.items()}


def test_all_kinds_are_shown_alike(evidence: Evidence) -> None:
    latents = evidence.n_latents()
    assert latents == {"neuron": 32, "random": 32}
    items = draw_items(evidence.concepts(), latents, {"concept": 8, "neuron": 8, "random": 8}, seed=3)
    evidence.prepare(items)
    forms = set()
    for item in items:
        cells, ranks = evidence.cells(item)
        facts = evidence.facts(item)
        assert len(cells) == len(set(cells.tolist())) == item.size == facts["n"]  # also where half of all cells answer
        np.testing.assert_allclose(np.sort(ranks)[::-1], 1 - np.arange(item.size) / item.size, rtol=1e-5)
        labels = tuple((name, len(rows)) for name, rows in facts["labels"].items())
        forms.add((tuple(facts), labels, cells.dtype, ranks.dtype, tuple(facts["genes"][0])))
    assert len(forms) == 1


def test_facts_count_labels_and_test_genes(evidence: Evidence, atlas: Atlas) -> None:
    item = Item("random", 4, 50)
    cells, _ = evidence.cells(item)
    facts = evidence.facts(item)
    kinds = atlas.concepts.obs["cell type"]
    inside, every = kinds.iloc[cells].value_counts(), kinds.value_counts()
    assert facts["labels"]["cell type"] == [[name, inside[name], every[name]] for name in kinds.cat.categories]
    assert "n_counts" not in facts["labels"]
    assert facts["genes"] == top_k(Marker(atlas).genes(cells.astype(np.int64)), limit=40)


def test_ties_are_broken_by_lot_and_not_by_the_order_of_the_file(full_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    axes = torch.zeros(16, 16)
    RandomDirections(torch.zeros(16), axes, axes).save(folder / "dictionaries" / "neurons")
    atlas = open_atlas(folder)
    cells, _ = Evidence(atlas, Tree(atlas), Marker(atlas)).cells(Item("neuron", 0, 50))
    assert len(cells) == 50
    assert cells.max() > 400
    again, _ = Evidence(atlas, Tree(atlas), Marker(atlas)).cells(Item("neuron", 0, 50))
    np.testing.assert_array_equal(cells, again)


def test_without_what_the_pipeline_left_there_are_concepts_alone(full_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    atlas = open_atlas(folder)
    evidence = Evidence(atlas, Tree(atlas), Marker(atlas))
    assert [evidence.has(kind) for kind in ("concept", "neuron", "random")] == [True, True, True]
    shutil.rmtree(folder / "work")
    assert [evidence.has(kind) for kind in ("concept", "neuron", "random")] == [True, False, False]
    assert evidence.n_latents() == {}
    with pytest.raises(DamagedError, match="work/activations: it is gone"):
        evidence.cells(Item("neuron", 0, 5))
    assert evidence.facts(Item("concept", 0, 20))["n"] == 20


def test_activations_of_other_cells_are_refused(full_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    shutil.rmtree(folder / "work")
    writer = Writer(folder / "work" / "activations", 5, "others", {"cell": StoredSite(16)})
    writer.add(5, {"cell": SiteBatch(torch.zeros(5, 16), np.arange(5))})
    writer.close()
    atlas = open_atlas(folder)
    with pytest.raises(DamagedError, match="not of the cells of this atlas"):
        Evidence(atlas, Tree(atlas), Marker(atlas)).cells(Item("neuron", 0, 4))


def test_the_most_active_come_with_ranks_that_fall_evenly() -> None:
    cells, ranks = most_active(np.array([4, 1, 7]), np.array([0.5, 2.0, 1.0]), 2, np.arange(9))
    assert (cells.tolist(), ranks.tolist()) == ([1, 7], [1.0, 0.5])
    assert [len(part) for part in most_active(np.zeros(0, dtype=np.int64), np.zeros(0), 3, np.arange(9))] == [0, 0]

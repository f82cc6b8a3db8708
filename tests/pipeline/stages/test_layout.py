"""Where cells are drawn: near in the site, near in the drawing; for many cells too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cellglass.activations import SiteBatch, Writer, open_store
from cellglass.activations.manifest import StoredSite
from cellglass.activations.store import Store
from cellglass.pipeline import workspace
from cellglass.pipeline.run import Run
from cellglass.pipeline.stages.layout import _between, draw


def test_the_layout_keeps_neighbours(small_run: Run) -> None:
    """Cells that are near in the site are near in the drawing, much more than by chance."""
    store, site = workspace.open_activations(small_run)
    drawn = np.load(small_run.path(workspace.LAYOUT), allow_pickle=False)
    z = store.read(site, np.arange(400)).numpy()

    def neighbours(x: np.ndarray) -> np.ndarray:
        distance = ((x[:, None] - x[None]) ** 2).sum(-1)
        np.fill_diagonal(distance, np.inf)
        return np.argsort(distance, axis=1)[:, :15]

    shared = [len(set(a) & set(b)) / 15 for a, b in zip(neighbours(z), neighbours(drawn), strict=True)]
    assert drawn.shape == (400, 2)
    assert np.mean(shared) > 0.3  # by chance: 15 / 399


def _store(folder: Path, x: np.ndarray) -> Store:
    writer = Writer(folder, len(x), "test", {"z": StoredSite(x.shape[1])})
    writer.add(len(x), {"z": SiteBatch(torch.from_numpy(x.astype(np.float32)), np.arange(len(x)))})
    writer.close()
    return open_store(folder)


@pytest.mark.slow  # pynndescent is compiled
@pytest.mark.parametrize(
    ("n", "most"),
    [(3000, 1000), (10_001, 100_000)],
    ids=["most put between others", "more than scanpy searches one by one"],
)
def test_of_many_cells_groups_stay_together(n: int, most: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    group = noise.integers(0, 3, n)
    store = _store(tmp_path / "store", 10 * np.eye(3)[group] + noise.standard_normal((n, 3)))
    heard: list[tuple[int, int]] = []
    layout = draw(store, "z", 0, most=most, progress=lambda _, done, total: heard.append((done, total)))
    middle = np.stack([layout[group == i].mean(0) for i in range(3)])
    nearest = np.linalg.norm(layout[:, None] - middle[None], axis=2).argmin(1)
    assert (nearest == group).mean() > 0.98
    assert layout.shape == (n, 2)
    assert np.isfinite(layout).all()
    assert heard[-1][0] == heard[-1][1]


def test_a_cell_is_put_between_its_nearest_the_nearer_the_closer() -> None:
    places = np.array([[[0.0, 0], [1, 0], [0, 1]]])
    weight = np.exp(-np.array([0.0, 1, 2]))
    np.testing.assert_allclose(_between(places, np.array([[0.0, 1, 2]])), weight[None] @ places[0] / weight.sum())
    np.testing.assert_allclose(_between(places, np.zeros((1, 3))), [[1 / 3, 1 / 3]], rtol=1e-6)


def test_a_graph_of_many_parts_is_drawn(tmp_path: Path) -> None:
    """Cells that are nearly equal in many small groups: a spectral start of such a graph does not end."""
    noise = np.random.default_rng(0)
    x = np.repeat(noise.standard_normal((60, 5)), 20, axis=0) + 1e-4 * noise.standard_normal((1200, 5))
    layout = draw(_store(tmp_path / "store", x), "z", 0)
    middle = layout.reshape(60, 20, 2).mean(1)
    own = np.linalg.norm(layout.reshape(60, 20, 2) - middle[:, None], axis=2).mean()
    between = np.linalg.norm(middle[:, None] - middle[None], axis=2)[np.triu_indices(60, 1)].mean()
    assert own < between / 5


def test_a_site_of_one_value_is_drawn(tmp_path: Path) -> None:
    assert np.isfinite(draw(_store(tmp_path / "store", np.arange(50.0)[:, None]), "z", 0)).all()

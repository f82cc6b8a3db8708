from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cellglass.atlas.read import Atlas
from cellglass.explorer import Tree
from cellglass.explorer.data import neighbours
from cellglass.explorer.data.facts import CARD_SHARD
from explorer.conftest import FINDINGS

Rows = list[tuple[int, float]]


def parts(rows: Rows) -> tuple[Rows, Rows]:
    """Return the concepts and the residual latents among neighbours; the concepts stand first."""
    residual = [latent >= FINDINGS for latent, _ in rows]
    assert residual == sorted(residual)
    return rows[: residual.count(False)], rows[residual.count(False) :]


@pytest.mark.parametrize("latent", [0, 13])
def test_nearest_by_the_cosine_of_decoder_directions(read: Any, atlas: Atlas, latent: int) -> None:
    rows = atlas.dictionary().directions.numpy().astype(np.float64)
    cosine = rows @ rows[latent] / np.linalg.norm(rows, axis=1) / np.linalg.norm(rows[latent])
    cosine[[latent, 23]] = -np.inf  # itself, and the silent one
    found = read(f"data/cards/{latent // CARD_SHARD}.json")[str(latent)]["nearest"]
    concepts, rest = parts(found)
    assert (len(concepts), len(rest)) == (neighbours.NEIGHBOURS, 5)
    np.testing.assert_allclose([r for _, r in concepts], np.sort(cosine[:FINDINGS])[::-1][: len(concepts)], atol=1e-3)
    np.testing.assert_allclose([r for _, r in rest], np.sort(cosine[FINDINGS:23])[::-1], atol=1e-3)
    np.testing.assert_allclose([cosine[other] for other, _ in found], [value for _, value in found], atol=1e-3)


@pytest.mark.parametrize("latent", [0, 13])
def test_coactive_by_correlation_over_cells(read: Any, atlas: Atlas, latent: int) -> None:
    dense = atlas.concepts.X.toarray()[:, :23].astype(np.float64)
    expected = np.corrcoef(dense.T)[latent]
    expected[latent] = -1
    found = read(f"data/cards/{latent // CARD_SHARD}.json")[str(latent)]["coactive"]
    for rows, mine in zip(parts(found), (expected[:FINDINGS], expected[FINDINGS:]), strict=True):
        largest = np.sort(mine[mine > 0])[::-1][: neighbours.NEIGHBOURS]
        others, told = zip(*rows, strict=True)
        assert len(set(others)) == len(largest) > 0
        np.testing.assert_allclose(expected[list(others)], largest, rtol=0, atol=1e-9)
        np.testing.assert_allclose(told, largest, atol=1e-3)


def test_a_large_atlas_is_measured_on_a_sample(atlas: Atlas, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "MAX_CELLS", 150)
    one, other = Tree(atlas).neighbours, Tree(atlas).neighbours
    np.testing.assert_array_equal(one.sample, other.sample)
    assert len(one.sample) == one.n_cells == 150
    dense = atlas.concepts.X.toarray()[one.sample].astype(np.float64)
    with np.errstate(invalid="ignore"):
        np.testing.assert_allclose(one.correlations(4), np.corrcoef(dense.T)[4], atol=1e-6)
    monkeypatch.setattr(neighbours, "MAX_ENTRIES", 200)
    assert Tree(atlas).neighbours.n_cells == int(200 * 700 / atlas.concepts.X.nnz)


@pytest.mark.parametrize("kind", ["pca", "nmf"])
def test_dictionaries_are_read_as_they_load(kind: str, tmp_path: Any) -> None:
    import torch

    from cellglass import dictionaries

    made = dictionaries.fit(kind, torch.rand(60, 6, generator=torch.Generator().manual_seed(0)), n_components=4)
    made.save(tmp_path / kind)
    np.testing.assert_array_equal(neighbours._decoder(tmp_path / kind), made.directions.numpy())

"""Marks against SciPy, concept by concept, and a planted truth."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse as sp
import scipy.stats
from anndata import AnnData

from cellglass.atlas import columns
from cellglass.atlas.markers import rank_sum
from cellglass.atlas.markers.rank_sum import Marker, top_k
from cellglass.atlas.write import write_zarr
from cellglass.errors import InputError

N, M = 300, 23


def make(folder: Path) -> tuple[SimpleNamespace, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    dense = rng.exponential(size=(N, M)) * (rng.random((N, M)) < rng.random(M))
    dense[:, 3] = np.round(dense[:, 3])  # ties
    dense[:, 5] = 0
    dense[:, 7] = np.where(np.arange(N) < 40, 5.0 + rng.random(N), 0)  # planted
    counts = rng.poisson(rng.uniform(0, 3, M + 4), size=(N, M + 4))
    counts[:, 9] = np.where(np.arange(N) < 40, 9, 1)
    counts[11] = 0
    write_zarr(AnnData(X=sp.csc_matrix(dense.astype(np.float32))), folder / "concepts.zarr")
    write_zarr(AnnData(X=sp.csc_matrix(counts.astype(np.float32))), folder / "expression.zarr")
    return SimpleNamespace(path=folder), dense.astype(np.float32).astype(float), counts


@pytest.mark.parametrize("kept", [True, False])
def test_concepts_are_as_scipy_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    monkeypatch.setattr(columns, "BLOCK", 700)  # many blocks
    monkeypatch.setattr(rank_sum, "KEPT", 1 << 20 if kept else 0)
    atlas, dense, _ = make(tmp_path)
    marker = Marker(atlas)
    cells = np.sort(np.random.default_rng(1).choice(N, 60, replace=False))
    for _ in range(2):
        found = marker.concepts(cells)
    inside = np.isin(np.arange(N), cells)
    for j in range(M):
        test = scipy.stats.mannwhitneyu(dense[inside, j], dense[~inside, j], method="asymptotic")
        p = 1.0 if not dense[:, j].any() else test.pvalue
        np.testing.assert_allclose(found.auc[j], test.statistic / 60 / (N - 60), rtol=1e-12)
        np.testing.assert_allclose(found.p[j], p, rtol=1e-9)
    np.testing.assert_allclose(found.difference, dense[inside].mean(0) - dense[~inside].mean(0), atol=1e-6)
    np.testing.assert_allclose(found.share_in, (dense[inside] > 0).mean(0))
    np.testing.assert_allclose(found.share_out, (dense[~inside] > 0).mean(0))
    np.testing.assert_allclose(found.q, scipy.stats.false_discovery_control(found.p))


@pytest.mark.parametrize("kept", [True, False])
def test_genes_are_as_scipy_has_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: bool) -> None:
    monkeypatch.setattr(columns, "BLOCK", 700)
    monkeypatch.setattr(rank_sum, "KEPT", 1 << 20 if kept else 0)
    atlas, _, counts = make(tmp_path)
    cells = np.arange(0, 90, 2)
    found = Marker(atlas).genes(cells)
    total = counts.sum(1, keepdims=True)
    y = np.log1p(1e4 * np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0))
    inside = np.isin(np.arange(N), cells)
    varies = y.any(0)
    test = scipy.stats.ttest_ind(y[inside][:, varies], y[~inside][:, varies], equal_var=False)
    np.testing.assert_allclose(found.t[varies], test.statistic, rtol=1e-4)
    np.testing.assert_allclose(found.p[varies], test.pvalue, rtol=1e-3)
    np.testing.assert_allclose(found.difference, y[inside].mean(0) - y[~inside].mean(0), atol=1e-5)


def test_what_was_planted_comes_first(tmp_path: Path) -> None:
    atlas, _, _ = make(tmp_path)
    marker, cells = Marker(atlas), np.arange(40)
    concepts = top_k(marker.concepts(cells), np.arange(M) + 100)
    assert (concepts[0]["latent"], concepts[0]["auc"]) == (107, 1.0)
    assert concepts[0]["q"] < 1e-20
    assert top_k(marker.genes(cells))[0]["gene"] == 9


def test_an_atlas_without_expression_has_no_genes(tmp_path: Path) -> None:
    atlas, _, _ = make(tmp_path)
    (tmp_path / "expression.zarr").rename(tmp_path / "gone")
    assert Marker(atlas).genes(np.arange(9)) is None


@pytest.mark.parametrize("cells", [[], [1, 2], range(N), range(N - 2), [0, 1, N]])
def test_sets_that_cannot_be_tested_are_refused(tmp_path: Path, cells: object) -> None:
    atlas, _, _ = make(tmp_path)
    with pytest.raises(InputError, match="the set"):
        Marker(atlas).concepts(np.array(list(cells), dtype=np.int64))


def test_a_damaged_matrix_is_said_to_be_one(tmp_path: Path) -> None:
    atlas, _, _ = make(tmp_path)
    for chunk in (tmp_path / "concepts.zarr" / "X" / "data" / "c").iterdir():
        chunk.write_bytes(b"damaged")
    with pytest.raises(InputError, match=r"concepts\.zarr: it cannot be read"):
        Marker(atlas).concepts(np.arange(9))

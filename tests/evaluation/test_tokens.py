"""What gene tokens say of cells and of genes, against plain loops and planted truth."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from cellglass.activations import SiteBatch, Writer, open_store
from cellglass.activations.manifest import StoredSite
from cellglass.attribution.pooled import Pooled
from cellglass.evaluation.tokens import GeneSums, TokenCells, identity_metric


def summed(dense: np.ndarray, gene: np.ndarray, n_genes: int) -> GeneSums:
    sums = GeneSums(dense.shape[1], n_genes)
    for rows in np.array_split(np.arange(len(gene)), 7):
        sums.add(sp.csr_matrix(dense[rows]), gene[rows])
    return sums


def test_identity_tells_a_gene_from_what_a_gene_shows_in_some_cells():
    rng = np.random.default_rng(0)
    gene = rng.integers(0, 40, 8000)
    pure = (gene == 3) * 2.0
    context = (rng.random(8000) < 0.2) * 1.5
    both = pure + (gene == 3) * rng.normal(0, 1, 8000).clip(-1.9)
    found = summed(np.stack([pure, context, both, np.zeros(8000)], axis=1), gene, 50).identity()
    assert found[0] == pytest.approx(1)
    assert found[1] < 0.01  # by chance alone the raw share would be 39 / 7999
    assert 0.5 < found[2] < 0.95
    assert np.isnan(found[3])


def test_identity_and_table_equal_plain_loops():
    rng = np.random.default_rng(1)
    gene = rng.integers(0, 12, 500)
    dense = rng.random((500, 6)) * (rng.random((500, 6)) < 0.3) * (1 + gene[:, None] % 3)
    sums = summed(dense, gene, 15)
    for latent, share in enumerate(sums.identity()):
        a = dense[:, latent]
        within = sum(((a[gene == g] - a[gene == g].mean()) ** 2).sum() for g in range(12))
        total = ((a - a.mean()) ** 2).sum()
        assert share == pytest.approx(max(0, 1 - (within / (500 - 12)) / (total / 499)), abs=1e-9)
    table = sums.table()
    assert list(table["concept"]) == sorted(table["concept"])
    for row in table.itertuples():
        a = dense[gene == row.gene, row.concept]
        assert row.n == len(a)
        assert row.mean == pytest.approx(a.mean(), rel=1e-5)
        assert row.active == pytest.approx((a > 0).mean(), rel=1e-5)
        assert row.part == pytest.approx(a.sum() / dense[:, row.concept].sum(), rel=1e-5)


def test_one_token_a_gene_says_nothing_of_identity():
    assert np.isnan(summed(np.ones((5, 2)), np.arange(5), 5).identity()).all()


def test_cells_are_seen_through_their_kept_tokens(tmp_path):
    rng = np.random.default_rng(2)
    cell = np.sort(rng.integers(0, 30, 200)).astype(np.int64)
    cell[cell == 7] = 8
    values = torch.from_numpy(rng.random((200, 4)).astype(np.float32))
    gene = rng.integers(0, 9, 200).astype(np.int64)
    writer = Writer(tmp_path / "s", 30, "test", {"t": StoredSite(4, "token", "float32", False)}, 1 << 20)
    writer.add(30, {"t": SiteBatch(values, cell, gene)})
    writer.close()
    view = TokenCells(open_store(tmp_path / "s"), "t")
    cells = np.array([0, 7, 8, 29])
    codes, site = view.codes(Pooled(4), cells).toarray(), view.site(cells).numpy()
    for i, c in enumerate(cells):
        mine = values.numpy()[cell == c]
        np.testing.assert_allclose(codes[i], mine.max(axis=0) if len(mine) else 0)
        np.testing.assert_allclose(site[i], mine.mean(axis=0) if len(mine) else 0, atol=1e-6)
    assert view.n_cells == 30


def test_the_metric_is_the_median_beside_that_of_the_neurons():
    (metric,) = identity_metric(np.array([0.1, np.nan, 0.5, 0.9]), np.array([0.2, 0.4]), 77)
    assert (metric.value, metric.null, metric.n) == (0.5, pytest.approx(0.3), 77)
    assert identity_metric(np.array([np.nan]), None, 3) == []
    (metric,) = identity_metric(np.array([0.1]), np.array([np.nan, np.nan]), 3)
    assert metric.null is None

"""Vectors of genes against a dense decomposition."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.cells.cells import Cells
from cellglass.models.transformer.gene_vectors import gene_vectors


@pytest.fixture
def cells() -> Cells:
    rng = np.random.default_rng(0)
    counts = rng.negative_binomial(1, 0.4, (40, 25)).astype(np.float32)
    counts[:, 4] = 0
    ids = [f"g{i}" for i in range(25)]
    return Cells(sp.csr_matrix(counts), pd.DataFrame({"symbol": ids}, index=ids), pd.DataFrame(index=range(40)))


def test_gene_vectors_are_those_of_the_dense_decomposition(cells: Cells) -> None:
    counts, medians = cells.counts, np.random.default_rng(0).uniform(0.5, 4, cells.n_genes)
    dense = counts.toarray().astype(np.float64)
    a = np.log1p(dense / dense.sum(1, keepdims=True) * 10_000 / medians)
    _, s, v = np.linalg.svd(a - a.mean(0), full_matrices=False)
    wanted = v[:6].T * np.sqrt(s[:6])
    found = gene_vectors(counts, medians, 6, 0)
    assert (found[4] == 0).all()  # in no cell
    rest = [g for g in range(cells.n_genes) if g != 4]
    size = np.sqrt((wanted[rest] ** 2).mean(1, keepdims=True))
    # Singular vectors have no sign of their own, so their inner products are compared.
    inner = wanted[rest] / size @ (wanted[rest] / size).T
    np.testing.assert_allclose(found[rest] @ found[rest].T, inner, atol=1e-8)
    np.testing.assert_allclose((found[rest] ** 2).mean(1), 1)
    wide = gene_vectors(counts[:5], medians, 9, 0)
    assert wide.shape == (25, 9)
    assert (wide[:, 4:] == 0).all()
    assert (gene_vectors(counts[:1], medians, 3, 0) == 0).all()

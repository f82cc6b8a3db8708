"""Thinned counts are binomial draws, at one probability or at one for each cell."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from cellglass.cells.thinning import thinned, without_genes


def test_thinned_counts_are_binomial() -> None:
    counts = sp.csr_matrix(np.tile(np.array([40.0, 0, 10, 1], dtype=np.float32), (500, 1)))
    found = thinned(counts, 0.7, np.random.default_rng(0))
    assert found.sum() / counts.sum() == pytest.approx(0.7, abs=0.01)
    assert (found.toarray() <= counts.toarray()).all()
    assert found.data.min() > 0
    assert counts.data.min() == 1  # the given ones stay
    assert counts.nnz == 1500
    assert found.toarray()[:, 0].var() == pytest.approx(40 * 0.7 * 0.3, rel=0.2)  # var = n p (1 - p)


def test_each_cell_has_its_own_probability() -> None:
    counts = sp.csr_matrix(np.full((3, 400), 5, dtype=np.float32))
    found = thinned(counts, np.array([1.0, 0.5, 0.1]), np.random.default_rng(0))
    assert np.asarray(found.sum(axis=1)).ravel() / 2000 == pytest.approx([1, 0.5, 0.1], abs=0.03)
    assert found[0].nnz == 400


def test_genes_go_whole_with_the_share_of_their_cell() -> None:
    counts = sp.csr_matrix(np.full((3, 2000), 5, dtype=np.float32))
    found = without_genes(counts, np.array([0.0, 0.3, 0.9]), np.random.default_rng(0))
    assert set(found.data) == {5}
    assert found.getnnz(axis=1) / 2000 == pytest.approx([1, 0.7, 0.1], abs=0.03)
    assert counts.nnz == 6000

"""Principal components of counts against a dense decomposition."""

import numpy as np
import scipy.sparse as sp

from cellglass.evaluation.counts import components


def test_components_equal_a_dense_decomposition():
    counts = np.random.default_rng(0).poisson(2, (50, 20)).astype(np.float32)
    counts[3] = 0
    found = components(sp.csr_matrix(counts), 5, seed=1)
    total = np.maximum(counts.sum(1, keepdims=True), 1)
    logs = np.log1p(counts / total * 1e4)
    u, s, _ = np.linalg.svd(logs - logs.mean(0), full_matrices=False)
    wanted = u[:, :5] * s[:5]
    np.testing.assert_allclose(np.abs((found * wanted).sum(0)), s[:5] ** 2, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), s[:5], rtol=1e-6)


def test_few_cells_or_genes_give_few_components():
    assert components(sp.csr_matrix(np.eye(4)[:, :3])).shape == (4, 2)
    assert (components(sp.csr_matrix(np.ones((5, 1)))) == 0).all()


def test_cells_that_are_all_alike_have_no_direction():
    for counts in (np.zeros((10, 8)), np.ones((10, 8)), np.tile(np.arange(8.0), (10, 1)), np.ones((2, 5))):
        assert (components(sp.csr_matrix(counts)) == 0).all()

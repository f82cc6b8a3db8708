"""Correlations against dense numpy, on sparse and on full codes; the control keeps what it should and nothing else."""

import numpy as np
import pytest
import scipy.sparse as sp

from cellglass.evaluation.coactivation import correlations, products, shuffled_cells
from cellglass.evaluation.matching import agreement


def _codes(n, m, density, seed):
    return sp.random(n, m, density, format="csc", dtype=np.float32, random_state=seed)


@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
@pytest.mark.parametrize("cells", [50, 2500])
def test_equals_numpy(density, cells):
    a, b = _codes(cells, 30, density, 1), _codes(cells, 20, density, 2)
    x, y = a.toarray().astype(float), b.toarray().astype(float)
    np.testing.assert_allclose(products(a, b), x.T @ y, rtol=1e-10, atol=1e-12)
    full = np.concatenate([x, y], axis=1)
    varies = full.std(axis=0) > 0
    expected = np.zeros((50, 50))
    expected[np.ix_(varies, varies)] = np.corrcoef(full[:, varies], rowvar=False)
    np.testing.assert_allclose(correlations(a, b), expected[:30, 30:], atol=1e-9)


def test_pieces_of_latents_join_up():
    a, b = _codes(200, 1300, 0.01, 3), _codes(200, 900, 0.01, 4)
    np.testing.assert_allclose(products(a, b), (a.astype(float).T @ b.astype(float)).toarray())


def test_latents_that_do_not_vary_have_no_correlation():
    a = sp.csc_matrix(np.array([[0.7, 0, 1], [0.7, 0, 2], [0.7, 0, 4]], dtype=np.float32))
    found = correlations(a, a)
    assert (found[:2] == 0).all()
    assert found[2, 2] == pytest.approx(1)


def test_density_alone_is_no_similarity():
    rng = np.random.default_rng(5)
    a, b = (sp.csc_matrix((rng.random((5000, 40)) < 0.6) * rng.random((5000, 40))) for _ in range(2))
    cosine = products(a, b) / np.outer(*(np.sqrt(c.multiply(c).sum(axis=0).A1) for c in (a, b)))
    assert cosine.min() > 0.35
    assert abs(correlations(a, b)).max() < 0.07


def test_the_control_keeps_each_latents_activations_and_moves_their_cells():
    codes = _codes(3000, 25, 0.1, 6)
    moved = shuffled_cells(codes, np.random.default_rng(0))
    x, y = codes.toarray(), moved.toarray()
    np.testing.assert_array_equal(np.sort(x, axis=0), np.sort(y, axis=0))
    assert moved.has_sorted_indices
    assert agreement(correlations(codes, codes)).matched == pytest.approx(1)
    # correlations of unrelated latents over n cells have sd 1 / sqrt(n): the best of 25 lies near 2 of them
    assert agreement(correlations(codes, moved)).best == pytest.approx(2 / np.sqrt(3000), abs=1 / np.sqrt(3000))
    share = np.bincount(moved.indices // 300, minlength=10) / moved.nnz
    np.testing.assert_allclose(share, 0.1, atol=0.02)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e-200])
def test_constants_and_copies_stay_within_minus_one_and_one(value):
    """A constant's variance is what rounding leaves; a latent's correlation with itself may round to above 1."""
    rng = np.random.default_rng(0)
    dense = np.column_stack([np.full(1000, value), rng.random(1000) + 1e3, rng.random(1000) * 1e-3])
    found = correlations(sp.csc_matrix(dense), sp.csc_matrix(np.column_stack([dense, -dense])))
    assert (found[0] == 0).all()
    assert np.abs(found).max() <= 1
    np.testing.assert_allclose(np.diag(found[:, 3:])[1:], -1, atol=1e-6)


def test_no_cell_and_one_cell_correlate_with_nothing():
    for cells in (0, 1):
        codes = sp.csc_matrix(np.ones((cells, 2)))
        assert (correlations(codes, codes) == 0).all()

from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from cellglass.errors import InputError
from cellglass.models.scgpt.binning import bin_values
from cellglass.threads import threads


def slow(values, start, n_bins):
    """Each cell by numpy's quantile, each value by itself: the middle of the bins that fit, the lower of two."""
    bins = []
    for first, last in pairwise(start):
        cell = [float(value) for value in values[first:last]]
        edges = [float(edge) for edge in np.quantile(cell, np.linspace(0, 1, n_bins - 1))] if cell else []
        for value in cell:
            below, upto = sum(edge < value for edge in edges), sum(edge <= value for edge in edges)
            fitting = list(range(below + 1, upto + 1)) or [upto]
            bins.append(fitting[(len(fitting) - 1) // 2])
    return np.array(bins, dtype=np.int64)


def published(values, n_bins, rng):
    """The published draw: any of the bins that fit, for one cell."""
    edges = np.quantile(values, np.linspace(0, 1, n_bins - 1))
    left, right = np.digitize(values, edges), np.digitize(values, edges, right=True)
    return np.ceil(rng.random(len(values)) * (right - left) + left)


def counts(seed=0, n_cells=40, n_genes=200):
    rng = np.random.default_rng(seed)
    depth = rng.choice([0.001, 0.02, 0.3, 3.0], (n_cells, 1))
    matrix = sp.csr_matrix(rng.negative_binomial(0.3, 0.3 / (0.3 + depth), (n_cells, n_genes)).astype(np.float32))
    assert (np.diff(matrix.indptr) == 0).any()
    assert np.diff(matrix.indptr).max() > 90
    return matrix


@pytest.mark.parametrize("n_bins", [3, 7, 51])
def test_bins_equal_a_plain_loop(n_bins):
    matrix = counts()
    found = bin_values(matrix.data, matrix.indptr, n_bins)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, slow(matrix.data, matrix.indptr, n_bins))
    assert 1 <= found.min() <= found.max() <= n_bins - 1


def test_bins_are_the_published_ones_where_no_edges_are_equal():
    rng = np.random.default_rng(1)
    for n in (51, 120, 997):
        values = rng.lognormal(size=n)
        edges = np.quantile(values, np.linspace(0, 1, 50))
        assert len(np.unique(edges)) == 50
        found = bin_values(values, np.array([0, n]), 51)
        np.testing.assert_array_equal(found, np.digitize(values, edges))
        np.testing.assert_array_equal(found, published(values, 51, rng))


def test_with_equal_edges_the_bin_is_the_mean_of_the_published_draw():
    values = np.repeat([1.0, 2.0, 3.0, 7.0], [60, 25, 10, 5])
    rng = np.random.default_rng(2)
    drawn = np.mean([published(values, 51, rng) for _ in range(2000)], axis=0)
    found = bin_values(values, np.array([0, len(values)]), 51)
    for value in (1.0, 2.0, 3.0, 7.0):
        mine, mean = found[values == value], drawn[values == value].mean()
        assert len(set(mine)) == 1
        assert np.floor(2 * mean + 0.5) / 2 - mine[0] in (0.0, 0.5)  # the mean is a whole or a half bin
    assert np.ptp(found) > 20


def test_a_scale_or_a_logarithm_changes_no_bin_and_order_is_kept():
    matrix = counts(3)
    found = bin_values(matrix.data, matrix.indptr, 51)
    np.testing.assert_array_equal(bin_values(matrix.data * 0.25, matrix.indptr, 51), found)
    logged = bin_values(np.log1p(matrix.data.astype(np.float64)), matrix.indptr, 51)
    assert (logged != found).mean() < 1e-3
    for first, last in pairwise(matrix.indptr):
        order = np.argsort(matrix.data[first:last], kind="stable")
        assert (np.diff(found[first:last][order]) >= 0).all()


def test_a_cell_is_binned_alone():
    matrix = counts(4)
    found = bin_values(matrix.data, matrix.indptr, 51)
    for row in (0, 7, 39):
        part = slice(matrix.indptr[row], matrix.indptr[row + 1])
        alone = bin_values(matrix.data[part], np.array([0, part.stop - part.start]), 51)
        np.testing.assert_array_equal(found[part], alone)


def test_threads_change_nothing():
    rng = np.random.default_rng(5)
    start = np.concatenate(([0], np.cumsum(rng.integers(0, 900, 800))))
    values = rng.integers(1, 30, start[-1]).astype(np.float32)
    assert len(values) > 1 << 18
    with threads(1):
        one = bin_values(values, start, 51)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        np.testing.assert_array_equal(bin_values(values, start, 51), one)
    finally:
        torch.set_num_threads(before)


def test_one_value_takes_the_middle_bin_and_none_takes_none():
    assert bin_values(np.array([4.0]), np.array([0, 1]), 51).tolist() == [25]
    assert bin_values(np.empty(0), np.array([0, 0, 0]), 51).tolist() == []


def test_too_few_bins_are_refused():
    with pytest.raises(InputError, match="n_bins is 2"):
        bin_values(np.ones(3), np.array([0, 3]), 2)

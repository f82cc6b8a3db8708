import numpy as np
import pytest
import torch

from cellglass.attribution.neighbours import Pool, distances, matched, nearest, read_rows, spread_out
from cellglass.errors import InputError


def slow(vectors, query, allowed, k):
    order = sorted(np.flatnonzero(allowed), key=lambda i: (((vectors[i].astype(float) - query) ** 2).sum(), i))
    return order[:k]


def test_nearest_equals_a_sort_of_all_distances():
    rng = np.random.default_rng(0)
    vectors = rng.normal(3.0, 1.0, (300, 8)).astype(np.float32)
    pool = Pool.read(vectors, "z", 300, at_most=1000, seed=0)
    queries = vectors[:12]
    allowed = rng.random((12, 300)) < 0.4
    for i, found in enumerate(nearest(pool, queries, allowed, 7)):
        assert found.tolist() == slow(pool.vectors, queries[i] - pool.mean, allowed[i], 7)


def test_equal_cells_are_taken_in_order_of_position():
    rng = np.random.default_rng(1)
    kinds = rng.normal(50.0, 1.0, (5, 33)).astype(np.float32)
    vectors = kinds[np.arange(200) % 5]
    pool = Pool.read(vectors, "z", 200, at_most=1000, seed=0)
    (found,) = nearest(pool, kinds[2:3], np.ones((1, 200), dtype=bool), 10)
    assert found.tolist() == list(range(2, 52, 5))


def test_fewer_are_returned_where_fewer_are_allowed():
    pool = Pool.read(np.eye(4, dtype=np.float32), "z", 4, at_most=10, seed=0)
    allowed = np.array([[False, True, False, False], [False] * 4])
    found = nearest(pool, np.eye(4, dtype=np.float32)[:2], allowed, 3)
    assert [f.tolist() for f in found] == [[1], []]


def test_a_large_pool_is_a_seeded_sample_that_keeps_positions():
    vectors = np.arange(1000, dtype=np.float32)[:, None]
    pool = Pool.read(vectors, "z", 1000, at_most=50, seed=3)
    assert len(pool.rows) == 50
    assert (np.diff(pool.rows) > 0).all()
    np.testing.assert_allclose(pool.vectors[:, 0] + pool.mean[0], pool.rows)
    assert (Pool.read(vectors, "z", 1000, at_most=50, seed=3).rows == pool.rows).all()
    assert (Pool.read(vectors, "z", 1000, at_most=50, seed=4).rows != pool.rows).any()
    with pytest.raises(InputError, match="at least 1"):
        Pool.read(vectors, "z", 1000, at_most=0, seed=3)


def test_rows_are_read_from_arrays_tensors_and_stores_alike():
    matrix = np.random.default_rng(2).normal(size=(9, 3)).astype(np.float32)

    class Store:
        def read(self, site, rows):
            assert site == "z"
            return torch.from_numpy(matrix[rows]).double()

    rows = np.array([4, 0, 8])
    for source in (matrix, torch.from_numpy(matrix), Store()):
        found = read_rows(source, "z", rows)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, matrix[rows])


def test_distances_are_those_of_the_vectors():
    vectors = np.random.default_rng(3).normal(7.0, 1.0, (50, 6)).astype(np.float32)
    pool = Pool.read(vectors, "z", 50, at_most=100, seed=0)
    wanted = np.linalg.norm(vectors.astype(float) - vectors[4], axis=1)
    np.testing.assert_allclose(distances(pool, vectors[4]), wanted, atol=2e-3)


def test_matched_cells_are_as_far_and_as_deep_as_the_wanted_ones_each_once():
    rng = np.random.default_rng(4)
    distance, depth, allowed = rng.gamma(4.0, 1.0, 400), rng.lognormal(7.0, 0.4, 400), rng.random(400) < 0.6
    wanted = rng.choice(np.flatnonzero(~allowed), 5, replace=False)
    found, free = matched(distance, depth, allowed, wanted), set(np.flatnonzero(allowed))
    for mine, its in zip(found, wanted, strict=True):
        cost = {i: np.log(distance[i] / distance[its]) ** 2 + np.log(depth[i] / depth[its]) ** 2 for i in free}
        assert mine == min(cost, key=cost.get)
        free.remove(mine)
    assert matched(distance, depth, np.arange(400) < 2, wanted).tolist() in ([0, 1], [1, 0])
    assert len(matched(np.zeros(4), np.zeros(4), np.zeros(4, dtype=bool), np.array([1]))) == 0


def test_cells_are_spread_over_those_that_ask_and_shared_only_for_want_of_others():
    same = [np.arange(9)] * 3
    assert [mine.tolist() for mine in spread_out(same, 2, 1)] == [[0, 3], [1, 4], [2, 5]]
    assert [mine.tolist() for mine in spread_out(same, 2, 2)] == [[0, 1], [0, 2], [1, 2]]
    few = [np.array([5, 7])] * 3
    assert [sorted(mine.tolist()) for mine in spread_out(few, 2, 1)] == [[5, 7]] * 3
    assert [mine.tolist() for mine in spread_out([np.empty(0, dtype=np.int64)], 2, 1)] == [[]]

"""Clusterings: centres where the groups are, membership against a loop, standardised columns."""

from __future__ import annotations

import numpy as np

from cellglass.dictionaries.clusterings import centres, one_hot, spread, standardised


def test_centres_are_the_means_of_groups_far_apart() -> None:
    rng = np.random.default_rng(0)
    middles = 20 * np.eye(4)
    x = np.repeat(middles, 30, axis=0) + rng.normal(size=(120, 4))
    found = centres(x, 4, 2**40 + 1, starts=5)
    expected = [x[30 * i : 30 * (i + 1)].mean(axis=0) for i in range(4)]
    for mean in expected:
        assert np.abs(found - mean).max(axis=1).min() < 1e-6
    assert centres(np.ones((9, 2)), 3, 0).shape == (3, 2)


def test_starts_are_rows_and_hit_every_group_far_apart() -> None:
    rng = np.random.default_rng(3)
    x = (100 * np.repeat(np.eye(6), 20, axis=0) + rng.normal(size=(120, 6))).astype(np.float32)
    for seed in range(20):
        found = spread(x, 6, np.random.default_rng(seed))
        where = [np.flatnonzero((x == row).all(axis=1)) for row in found]
        assert sorted(int(at[0]) // 20 for at in where) == list(range(6))
    np.testing.assert_array_equal(spread(np.ones((5, 2)), 3, rng), np.ones((3, 2)))


def test_clusters_are_as_tight_as_scikit_learns() -> None:
    from sklearn.cluster import KMeans

    x = np.random.default_rng(4).normal(size=(600, 8)) + 50
    ours = [_spread_within(x, centres(x, 12, seed)) for seed in range(10)]
    theirs = [KMeans(12, n_init=1, random_state=seed).fit(x).inertia_ for seed in range(10)]
    assert np.mean(ours) < 1.01 * np.mean(theirs)


def _spread_within(x: np.ndarray, middles: np.ndarray) -> float:
    return float(np.square(x[:, None] - middles).sum(axis=2).min(axis=1).sum())


def test_membership_is_the_nearest_centre() -> None:
    rng = np.random.default_rng(1)
    x, middles = rng.normal(size=(80, 3)), rng.normal(size=(7, 3))
    found = one_hot(x, middles)
    np.testing.assert_array_equal(found.sum(axis=1), 1)
    for row, member in zip(x, found, strict=True):
        assert member.argmax() == min(range(7), key=lambda j, row=row: ((row - middles[j]) ** 2).sum())


def test_standardised_columns_have_mean_0_and_variance_1_or_are_0() -> None:
    z = standardised(np.column_stack([np.arange(10.0), np.full(10, 0.1), np.eye(10)[3]]))
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(z.std(axis=0), [1, 0, 1], atol=1e-6)

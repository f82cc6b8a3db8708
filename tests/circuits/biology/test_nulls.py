"""Nulls: rewired pairs keep every degree and reach all wirings; correlations against SciPy's."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import spearmanr

from cellglass.circuits.biology.nulls import above, agreement, rewired
from cellglass.errors import InputError


def test_rewired_pairs_keep_degrees_and_are_allowed_and_each_once() -> None:
    rng = np.random.default_rng(0)
    allowed = rng.random((12, 15)) < 0.8
    pairs = np.argwhere(allowed & (rng.random(allowed.shape) < 0.3))
    moved = []
    for one in rewired(pairs, allowed, 50, np.random.default_rng(1)):
        for side in (0, 1):
            np.testing.assert_array_equal(
                np.bincount(one[:, side], minlength=15), np.bincount(pairs[:, side], minlength=15)
            )
        assert allowed[one[:, 0], one[:, 1]].all()
        assert len(np.unique(one, axis=0)) == len(pairs)
        moved.append(len(set(map(tuple, one.tolist())) - set(map(tuple, pairs.tolist()))) / len(pairs))
    assert np.mean(moved) > 0.4


def test_all_wirings_are_about_as_frequent() -> None:
    """Of three sources with three targets, one each: six ways."""
    pairs = np.column_stack([np.arange(3)] * 2)
    seen = [
        tuple(one[np.argsort(one[:, 0]), 1])
        for one in rewired(pairs, np.ones((3, 3), bool), 800, np.random.default_rng(0))
    ]
    share = [seen.count(way) / 800 for way in itertools.permutations(range(3))]
    assert min(share) > 1 / 6 - 0.06
    assert max(share) < 1 / 6 + 0.06


def test_a_single_source_leaves_nothing_to_rewire() -> None:
    pairs = np.array([[0, 0], [0, 1]])
    (one,) = rewired(pairs, np.ones((1, 4), bool), 1, np.random.default_rng(0))
    np.testing.assert_array_equal(one, pairs)


def test_correlation_is_spearmans_over_what_both_have() -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=30)
    b = np.round(a + rng.normal(size=30), 1)
    b[3] = np.nan
    found = agreement(a, b, 999, rng)
    assert found.spearman == pytest.approx(spearmanr(a, b, nan_policy="omit").statistic)
    assert found.n == 29
    assert found.p < 0.01
    assert agreement(a, -b, 99, rng).p > 0.9
    assert np.isnan(agreement(a[:2], b[:2], 9, rng).spearman)
    assert np.isnan(agreement(a, np.ones(30), 9, rng).p)
    with pytest.raises(InputError, match="draws is 0"):
        agreement(a, b, 0, rng)


def test_p_counts_draws_that_are_as_large() -> None:
    assert above(2.0, np.array([1.0, 2.0, 3.0])) == pytest.approx(3 / 4)

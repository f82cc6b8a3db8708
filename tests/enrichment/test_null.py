import numpy as np
import pytest

from cellglass.enrichment.null import (
    MatchedDraws,
    annotation_rate,
    expression_bins,
    rejected,
)
from cellglass.statistics import benjamini_hochberg

RNG = np.random.default_rng(0)


def test_bins_are_even_and_keep_equal_means_together():
    mean = RNG.permutation(np.r_[np.zeros(300), RNG.exponential(size=1700)])
    bins = expression_bins(mean)
    assert len(np.unique(bins[mean == 0])) == 1
    above = np.bincount(bins[mean > 0])
    assert above[above > 0].min() >= 50
    order = np.argsort(mean)
    assert (np.diff(bins[order]) >= 0).all()
    assert expression_bins(np.ones(30)).tolist() == [0] * 30


def test_draws_permute_within_bins_and_repeat():
    bins = RNG.integers(0, 4, size=200)
    scores = RNG.normal(size=(5, 200)).astype(np.float32)
    draws = MatchedDraws(scores, bins, 3, seed=1)
    assert len(draws) == 4
    assert draws[0] is scores
    for draw in draws[1:4]:
        for b in range(4):
            assert np.array_equal(np.sort(draw[:, bins == b], axis=1), np.sort(scores[:, bins == b], axis=1))
    assert np.array_equal(draws[2], MatchedDraws(scores, bins, 9, seed=1)[2])
    assert not np.array_equal(draws[1], draws[2])
    moved = (draws[1] != scores).mean(axis=1)
    assert (moved > 0.9).all()
    with pytest.raises(IndexError):
        draws[4]


def test_rejections_and_rates_agree_with_q_values():
    p = np.r_[RNG.random(500), RNG.random(60) * 1e-3]
    q = benjamini_hochberg(p)
    for alpha in (0.01, 0.05, 0.2):
        assert rejected(p[p <= alpha], len(p), alpha) == p[q <= alpha].max()
    assert rejected(np.array([0.04]), 100, 0.05) == -1
    assert rejected(np.zeros(0), 100, 0.05) == -1
    grid = p.reshape(20, 28)
    concept, _ = np.nonzero(grid <= 0.05)
    rate = annotation_rate(concept, grid[grid <= 0.05], 20, 28, 0.05)
    assert rate == (benjamini_hochberg(grid) <= 0.05).any(axis=1).mean()
    assert annotation_rate(np.full_like(concept, -1), grid[grid <= 0.05], 20, 28, 0.05) == 0

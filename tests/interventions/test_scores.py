"""Scores against NumPy and SciPy, and where they are known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from cellglass.interventions.scores import rank_of, score


def test_scores_are_what_a_plain_loop_finds() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(size=300)
    predicted = 0.5 * real + rng.normal(size=300)
    found = score(predicted, real, top=20)
    most = sorted(range(300), key=lambda g: -abs(real[g]))[:20]
    assert found.pearson == pytest.approx(np.corrcoef(predicted, real)[0, 1])
    assert found.pearson_top == pytest.approx(np.corrcoef(predicted[most], real[most])[0, 1])
    assert found.sign == np.mean([predicted[g] * real[g] > 0 for g in most])
    assert found.explained == pytest.approx(1 - sum((predicted - real) ** 2) / sum(real**2))


def test_what_is_known_of_some_predictions() -> None:
    real = np.random.default_rng(1).normal(size=100)
    assert score(real, real) == pytest.approx((1, 1, 1, 1))
    assert score(-real, real) == pytest.approx((-1, -1, 0, -3))
    nothing = score(np.zeros(100), real)
    assert np.isnan([nothing.pearson, nothing.pearson_top]).all()
    assert (nothing.sign, nothing.explained) == (0.5, 0)


def test_rank_is_the_auroc() -> None:
    rng = np.random.default_rng(2)
    values, members = rng.integers(0, 9, 200).astype(float), rng.random(200) < 0.2
    u = mannwhitneyu(values[members], values[~members]).statistic
    assert rank_of(values, members) == pytest.approx(u / (members.sum() * (~members).sum()))
    assert np.isnan(rank_of(values, np.zeros(200, dtype=bool)))

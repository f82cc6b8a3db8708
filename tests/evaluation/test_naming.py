"""Places of targets: against a loop; verdicts by what was planted and by how many there are."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.evaluation.naming import MATCHED, matched_genes, named, place


def test_matched_genes_are_those_of_nearest_expression_that_are_allowed() -> None:
    rng = np.random.default_rng(0)
    expression = rng.lognormal(size=300)
    allowed = rng.random(300) < 0.8
    found = matched_genes(7, expression, allowed)
    assert len(found) == MATCHED
    assert allowed[found].all()
    assert 7 not in found
    away = np.abs(np.log(expression) - np.log(expression[7]))
    left = np.setdiff1d(np.flatnonzero(allowed), [*found, 7])
    assert away[found].max() <= away[left].min() + 1e-4
    assert len(matched_genes(0, expression[:10], np.ones(10, dtype=bool))) == 9


def test_a_place_is_the_share_below() -> None:
    assert place(2.0, np.array([1.0, 2.0, 3.0, 0.0])) == pytest.approx((2 + 0.5) / 4)
    assert np.isnan(place(1.0, np.zeros(0)))


def test_verdicts_follow_what_is_there_and_how_many_there_are() -> None:
    rng = np.random.default_rng(1)
    assert named(rng.beta(6, 1, 30)).verdict == "yes"
    unlinked = [named(rng.random(60), seed=i) for i in range(60)]
    assert sum(one.verdict == "yes" for one in unlinked) <= 7  # 3 of 60 are to be expected
    assert all(one.verdict in ("yes", "no") for one in unlinked), "sixty are enough to see a mean of three quarters"
    few = named(np.array([0.5, 0.4, np.nan]))
    assert (few.n, few.verdict) == (2, "undecided")
    assert few.power < 0.5
    assert named(np.array([np.nan])).verdict == "undecided"

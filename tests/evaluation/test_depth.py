"""Correlation of concepts with sequencing depth, against NumPy's own, and what is said where it is not known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from cellglass.evaluation.depth import depth_correlations, follows_depth
from cellglass.vocabulary import FOLLOWS_DEPTH


def test_it_is_pearson_with_log_totals() -> None:
    rng = np.random.default_rng(0)
    totals = rng.lognormal(7, 0.5, 300).round()
    a = np.clip(rng.normal(size=(300, 4)), 0, None)
    a[:, 1] = np.clip(np.log1p(totals) - 7, 0, None)
    a[:, 2] = 0
    a[:, 3] = np.clip(7 - np.log1p(totals), 0, None)
    found = depth_correlations(sp.csc_matrix(a), totals)
    expected = [np.corrcoef(a[:, i], np.log1p(totals))[0, 1] for i in (0, 1, 3)]
    assert found[[0, 1, 3]] == pytest.approx(expected, abs=1e-6)
    assert np.isnan(found[2])
    assert [follows_depth(r) for r in found] == [False, True, None, True]


def test_nothing_is_said_where_depth_does_not_vary() -> None:
    codes = sp.csc_matrix(np.eye(5))
    assert np.isnan(depth_correlations(codes, np.full(5, 1000.0))).all()
    assert depth_correlations(sp.csc_matrix((0, 2)), np.zeros(0)).shape == (2,)
    assert follows_depth(None) is None
    assert follows_depth(-FOLLOWS_DEPTH) is True

"""Matching and AUROC against NumPy, SciPy and scikit-learn, and on planted programs."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.metrics import roc_auc_score

from cellglass.errors import InputError
from cellglass.evaluation.recovery import auroc, correlations, match_programs, recovery, summary


def _codes(rng, n=300, n_latents=8):
    return rng.random((n, n_latents)) * (rng.random((n, n_latents)) < 0.3)


def test_correlations_equal_numpy():
    rng = np.random.default_rng(0)
    dense, activity = _codes(rng), rng.random((300, 3))
    r = correlations(sp.csc_matrix(dense), activity)
    for c in range(8):
        for p in range(3):
            assert r[c, p] == pytest.approx(np.corrcoef(dense[:, c], activity[:, p])[0, 1])


def test_what_does_not_vary_has_no_correlation():
    rng = np.random.default_rng(0)
    dense, activity = _codes(rng), rng.random((300, 2))
    dense[:, 0], activity[:, 1] = 0, 5
    r = correlations(sp.csc_matrix(dense), activity)
    assert (r[0] == 0).all()
    np.testing.assert_allclose(r[:, 1], 0, atol=1e-6)
    with pytest.raises(InputError, match="299 cells"):
        correlations(sp.csc_matrix(dense[:299]), activity)


@pytest.mark.parametrize("levels", [None, 3])
def test_auroc_equals_scikit_learn(levels):
    rng = np.random.default_rng(1)
    scores, members = rng.normal(size=200), rng.random(200) < 0.2
    scores[members] += 0.7
    if levels:
        scores = np.round(scores * levels) / levels
    assert auroc(scores, members) == pytest.approx(roc_auc_score(members, scores))
    assert np.isnan(auroc(scores, np.zeros(200, dtype=bool)))


def _planted():
    rng = np.random.default_rng(2)
    activity = rng.gamma(1, 1, size=(500, 4)) * (rng.random((500, 4)) < 0.4)
    dense = rng.random((500, 10)) * (rng.random((500, 10)) < 0.1)
    dense[:, [7, 3, 1, 5]] += activity
    membership = np.zeros((100, 4), dtype=bool)
    for p in range(4):
        membership[p * 10 : p * 10 + 10, p] = True
    truth = np.zeros((10, 100))
    truth[[7, 3, 1, 5]] = membership.T
    return sp.csc_matrix(dense), activity, membership, truth, rng


def test_planted_programs_are_matched_and_recovered():
    codes, activity, membership, truth, rng = _planted()
    match = match_programs(codes, activity)
    assert match["latent"].tolist() == [7, 3, 1, 5]
    assert (match["correlation"] > 0.9).all()
    table = recovery({"true": truth, "noise": rng.normal(size=(10, 100))}, membership, match)
    assert table.groupby("method").size().to_dict() == {"true": 4, "noise": 4}
    true, noise = (table[table["method"] == m] for m in ("true", "noise"))
    assert (true["auroc"] == 1).all()
    assert (true["precision"] == 1).all()
    assert noise["auroc"].mean() == pytest.approx(0.5, abs=0.2)


def test_a_table_of_some_concepts_answers_for_these():
    codes, activity, membership, truth, _ = _planted()
    some = pd.DataFrame(truth).loc[[7, 5]]
    table = recovery({"some": some}, membership, match_programs(codes, activity))
    assert table["program"].tolist() == [0, 3]
    assert (table["auroc"] == 1).all()
    with pytest.raises(InputError, match="99 genes"):
        recovery({"some": some.iloc[:, :99]}, membership, match_programs(codes, activity))


def test_summary_is_mean_and_spread_over_seeds_of_each_seeds_mean():
    def table(a, b):
        return pd.DataFrame({"method": ["x", "x", "y"], "auroc": [a, b, 0.5], "precision": [0.0, 1.0, 0.2]})

    result = summary({0: table(0.2, 0.4), 1: table(0.6, 0.8)}, ["method"]).set_index("method")
    assert result.loc["x", "auroc"] == pytest.approx(0.5)
    assert result.loc["x", "auroc_sd"] == pytest.approx(np.std([0.3, 0.7], ddof=1))
    assert result.loc["y", ["auroc", "auroc_sd"]].tolist() == [0.5, 0.0]


def test_constants_that_round_have_no_correlation_and_copies_at_most_one():
    rng = np.random.default_rng(0)
    dense, activity = _codes(rng), rng.random((300, 3))
    dense[:, 0], activity[:, 0] = 0.1, 1 / 3
    dense[:, 1] = activity[:, 1]
    r = correlations(sp.csc_matrix(dense), np.column_stack([activity, dense]))
    assert (r[0] == 0).all()
    assert (r[:, 0] == 0).all()
    assert np.abs(r).max() <= 1
    assert r[1, 1] == pytest.approx(1)

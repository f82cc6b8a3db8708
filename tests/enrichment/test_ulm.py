import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import scipy.stats as sts

from cellglass.enrichment import ulm as module
from cellglass.enrichment.members import Members
from cellglass.enrichment.ulm import slope_test, ulm


def test_slopes_equal_a_plain_regression_and_decouplers(random_sets, monkeypatch):
    import decoupler

    rng = np.random.default_rng(0)
    _, sets = random_sets(80, [5, 9, 30, 40, 60])
    scores = rng.normal(size=(7, 80)) * np.logspace(-4, 4, 7)[:, None]
    monkeypatch.setattr(module, "_TERMS", 2)
    monkeypatch.setattr(module, "_ROWS", 3)
    tested = ulm([scores, scores[:, ::-1]], sets)
    for draw, values in enumerate([scores, scores[:, ::-1]]):
        for c, t in np.ndindex(7, 5):
            fit = sts.linregress(sets.matrix[:, [t]].toarray().ravel(), values[c])
            np.testing.assert_allclose(tested.statistic[draw, c, t], fit.slope / fit.stderr, rtol=1e-8)
            np.testing.assert_allclose(tested.p[draw, c, t], fit.pvalue, rtol=1e-7)
    rows = sets.matrix.tocoo()
    net = pd.DataFrame({"source": [sets.terms[i] for i in rows.col], "target": [f"g{i}" for i in rows.row]})
    data = pd.DataFrame(sts.zscore(scores, axis=1), index=list("abcdefg"), columns=[f"g{i}" for i in range(80)])
    theirs, _ = decoupler.mt.ulm(data, net, tmin=1)
    np.testing.assert_allclose(tested.statistic[0], theirs[list(sets.terms)].to_numpy(), rtol=1e-8)


def test_constant_rankings_say_nothing_and_p_is_never_zero(random_sets):
    _, sets = random_sets(500, [50])
    scores = np.zeros((2, 500))
    scores[1, sets.genes_of(0)] = 1
    tested = ulm([scores], sets)
    assert (tested.statistic[0, 0, 0], tested.p[0, 0, 0]) == (0, 1)
    assert tested.statistic[0, 1, 0] > 1e6
    assert tested.p[0, 1, 0] > 0


def test_a_correlation_beyond_one_counts_as_one():
    """Rounding gives such on some processors, depending on where in memory the numbers lie."""
    r = np.array([1.0, np.nextafter(1, 2), 1 + 1e-15, 1 + 1e-16, -1.0, np.nextafter(-1, -2), -1 - 1e-15])
    t, p = slope_test(r, 500)
    assert (t[:4] == t[0]).all()
    assert (t[4:] == -t[0]).all()
    assert 1e6 < t[0] < np.finfo(np.float32).max
    assert (p > 0).all()
    assert (p < 1e-300).all()


@pytest.mark.parametrize("n", [1, 2])
def test_too_few_genes_to_fit_a_line_say_nothing(n):
    t, p = slope_test(np.array([1.0, -1.0, 0.0]), n)
    assert (t.tolist(), p.tolist()) == ([0, 0, 0], [1, 1, 1])


@pytest.mark.parametrize("offset", range(8))
@pytest.mark.parametrize("n", [7, 499, 500, 501])
def test_scores_that_are_the_set_itself_give_a_finite_t_wherever_they_lie(random_sets, n, offset):
    """The same numbers at every address: sums are taken in another order, and r is 1, or a bit more or less."""
    _, sets = random_sets(n, [5])
    room = np.zeros(4 * n * 8 + 64, dtype=np.uint8)
    scores = room[offset : offset + 2 * n * 8].view(np.float64).reshape(2, n)
    scores[:, sets.genes_of(0)] = [[1.0], [-0.1]]
    tested = ulm([scores], sets)
    assert np.isfinite(tested.statistic).all()
    assert tested.statistic[0, 0, 0] > 1e6 > -1e6 > tested.statistic[0, 1, 0]
    assert (tested.p > 0).all()


def test_a_set_of_all_genes_and_scores_too_small_to_square_say_nothing(random_sets):
    _, sets = random_sets(20, [5])
    everything = Members(("all", *sets.terms), sp.hstack([np.ones((20, 1)), sets.matrix]).tocsc())
    scores = np.zeros((2, 20))
    scores[0], scores[1, 3] = np.arange(20), 1e-200
    tested = ulm([scores], everything)
    assert (tested.statistic[0, 0, 0], tested.p[0, 0, 0]) == (0, 1)
    assert tested.statistic[0, 0, 1] != 0
    assert tested.statistic[0, 1].tolist() == [0, 0]
    assert tested.p[0, 1].tolist() == [1, 1]

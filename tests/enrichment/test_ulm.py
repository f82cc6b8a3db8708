import numpy as np
import pandas as pd
import scipy.stats as sts

from cellglass.enrichment import ulm as module
from cellglass.enrichment.ulm import ulm


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

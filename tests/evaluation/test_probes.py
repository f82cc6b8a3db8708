"""Probes against scikit-learn by hand, and on labels that can be read and that cannot."""

import numpy as np
import pytest
import scipy.sparse as sp

from cellglass.errors import InputError
from cellglass.evaluation.labels import Labels, split
from cellglass.evaluation.probes import STRENGTHS, probe, probe_metric
from cellglass.seeds import generator


def _clusters(n=600, d=8, apart=4.0, seed=0):
    rng = np.random.default_rng(seed)
    code = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    x = rng.normal(size=(n, d))
    x[np.arange(n), code] += apart
    return x, Labels(code, ["a", "b", "c"])


def test_separate_clusters_are_read():
    x, labels = _clusters()
    result = probe(x, labels, 0)
    assert result.accuracy > 0.97
    assert result.n == 150
    assert result.majority == pytest.approx(0.6, abs=0.05)


def test_noise_is_read_no_better_than_the_majority():
    x, labels = _clusters(apart=0.0)
    result = probe(x, labels, 0)
    assert result.accuracy == pytest.approx(result.majority, abs=0.08)


def test_equals_scikit_learn_by_hand_for_one_of_its_strengths():
    from sklearn.linear_model import LogisticRegression

    x, labels = _clusters(apart=1.5)
    x *= 10 ** np.arange(8)  # standardising undoes it
    result = probe(x, labels, 3, name="type")
    fitting = split(labels.code, 0.75, generator(3, "probe", "type"))
    z = (x - x[fitting].mean(axis=0)) / x[fitting].std(axis=0)
    by_hand = [
        LogisticRegression(C=c, max_iter=500)
        .fit(z[fitting], labels.code[fitting])
        .score(z[~fitting], labels.code[~fitting])
        for c in (0.1, 1.0, 10.0)
    ]
    assert any(result.accuracy == pytest.approx(score, abs=1e-12) for score in by_hand)


def test_the_penalty_is_chosen_without_the_scoring_cells():
    """Choose by hand on a quarter of the fitting cells; often another penalty would have scored higher."""
    from sklearn.linear_model import LogisticRegression

    scored_higher = 0
    for seed in range(2, 6):
        x, labels = _clusters(n=120, d=30, apart=1.0, seed=seed)
        code, rng = labels.code, generator(seed, "probe", "type")
        fitting = split(code, 0.75, rng)
        inner = split(np.where(fitting, code, -1), 0.75, rng)

        def accuracy(fit, score, c, x=x, code=code):
            z = (x - x[fit].mean(axis=0)) / x[fit].std(axis=0)
            return LogisticRegression(C=c, max_iter=500).fit(z[fit], code[fit]).score(z[score], code[score])

        chosen = max(STRENGTHS, key=lambda c: (accuracy(inner, fitting & ~inner, c), -c))
        scores = {c: accuracy(fitting, ~fitting, c) for c in STRENGTHS}
        assert probe(x, labels, seed, name="type").accuracy == pytest.approx(scores[chosen], abs=1e-12)
        scored_higher += max(scores.values()) > scores[chosen] + 0.01
    assert scored_higher >= 2  # else the choice would not show


def test_sparse_features_stay_sparse_and_give_what_dense_ones_give_after_scaling():
    x, labels = _clusters()
    sparse = np.where(x > 1, x, 0)
    result = probe(sp.csc_matrix(sparse), labels, 0)
    assert result.accuracy > 0.95
    assert probe(sp.csc_matrix(sparse * 1000), labels, 0) == result


def test_unlabelled_cells_take_no_part():
    x, labels = _clusters()
    code = labels.code.copy()
    code[::3] = -1
    assert probe(x, labels._replace(code=code), 0) == probe(
        np.where((code == -1)[:, None], 1e6, x), labels._replace(code=code), 0
    )


def test_record_and_refusal():
    x, labels = _clusters()
    metric = probe_metric(probe(x, labels, 0), name="cell type", of="site")
    assert metric.metric == "probe.cell type.site"
    assert metric.null < metric.value
    assert "the site's own activations" in metric.definition
    with pytest.raises(InputError, match="599 cells"):
        probe(x[:599], labels, 0)

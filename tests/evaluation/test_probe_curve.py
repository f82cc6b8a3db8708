"""Curves of probes: forward selection against plain least squares, planted features, and a null that knows nothing."""

import numpy as np
import pytest
import scipy.sparse as sp

from cellglass.errors import InputError
from cellglass.evaluation.labels import Labels
from cellglass.evaluation.probe_curve import forward, probe_curve
from cellglass.evaluation.probes import parts, probe


def _planted(n=400, d=12, seed=0):
    """Four values, told apart by features 3 and 7 together; feature 5 is a noisy copy of 3."""
    rng = np.random.default_rng(seed)
    code = rng.integers(0, 4, n)
    x = rng.normal(size=(n, d))
    x[:, 3] += 4 * (code % 2)
    x[:, 7] += 4 * (code // 2)
    x[:, 5] = x[:, 3] + 0.7 * rng.normal(size=n)
    return x, Labels(code, list("abcd"))


def _by_hand(x, code, most):
    """Try every feature at each step and keep the one that leaves the smallest sum of squares."""
    target = (code[:, None] == np.unique(code)).astype(float)
    target = (target - target.mean(axis=0)) / np.sqrt(target.mean(axis=0))
    chosen = []
    for _ in range(most):
        rest = {}
        for j in set(range(x.shape[1])) - set(chosen):
            design = np.column_stack([np.ones(len(x)), x[:, [*chosen, j]]])
            fit = np.linalg.lstsq(design, target, rcond=None)[0]
            rest[j] = np.square(target - design @ fit).sum()
        chosen.append(min(rest, key=rest.get))
    return chosen


@pytest.mark.parametrize("seed", range(4))
def test_forward_selection_is_that_of_plain_least_squares(seed):
    x, labels = _planted(seed=seed)
    rows = np.random.default_rng(seed).random(len(x)) < 0.6
    assert forward(x, labels.code, rows, 5).tolist() == _by_hand(x[rows], labels.code[rows], 5)
    sparse = np.where(x > 1, x, 0)
    order = _by_hand(sparse[rows], labels.code[rows], 5)
    assert forward(sp.csr_matrix(sparse), labels.code, rows, 5).tolist() == order
    assert (
        forward(x * 10.0 ** np.arange(12), labels.code, rows, 5).tolist() == forward(x, labels.code, rows, 5).tolist()
    )


def test_features_that_say_nothing_more_are_not_chosen():
    x, labels = _planted()
    doubled = np.column_stack([x[:, [3, 7]], 2 * x[:, [3, 7]], np.ones(len(x))])
    chosen = forward(doubled, labels.code, np.ones(len(x), dtype=bool), 5)
    assert sorted(chosen % 2) == [0, 1]
    assert 4 not in chosen


def test_two_planted_features_hold_what_all_do_and_one_does_not():
    x, labels = _planted()
    points = {point.k: point for point in probe_curve(x, labels, 0, name="type", numbers=(1, 2, 8, 16, None))}
    assert list(points) == [1, 2, 8, None]  # there are only 12
    assert points[1].accuracy == pytest.approx(0.5, abs=0.1)
    assert points[2].accuracy > 0.93
    assert set(points[2].features) == {3, 7}
    assert points[None].accuracy == probe(x, labels, 0, name="type").accuracy
    assert all(point.null == pytest.approx(0.25, abs=0.12) for point in points.values())


def test_scoring_cells_have_no_say():
    """Whatever stands in the scoring cells, the features are the same."""
    x, labels = _planted()
    _, _, scoring = parts(labels.code, 0, "type")
    other = x.copy()
    other[scoring, 0] = 100 * labels.code[scoring]
    before, after = (probe_curve(one, labels, 0, name="type", numbers=(4,))[0] for one in (x, other))
    assert before.features == after.features


def test_what_cannot_be_is_refused():
    x, labels = _planted()
    with pytest.raises(InputError, match="399 cells"):
        probe_curve(x[:399], labels, 0)
    with pytest.raises(InputError, match="a probe on 0 features"):
        probe_curve(x, labels, 0, numbers=(0, 1))

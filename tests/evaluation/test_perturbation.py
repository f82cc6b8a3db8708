"""Agreement with perturbations: measures against loops, a perfect prediction, and nulls that earn nothing."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.errors import InputError
from cellglass.evaluation.perturbation import MEASURES, agreement, scores

N, GENES = 30, 200


def _truth(noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the change itself, and what two halves of the cells show of it: a shared part and one of its own."""
    rng = np.random.default_rng(seed)
    shared = 2 * rng.normal(size=GENES)
    own = rng.normal(size=(N, GENES)) * (rng.random((N, GENES)) < 0.1)
    halves = [shared + own + noise * rng.normal(size=own.shape) for _ in range(2)]
    return shared + own, halves[0], halves[1]


def _value(table, name: str, measure: str, column: str = "headline") -> float:
    return float(table.set_index(["name", "measure"]).loc[(name, measure), column])


def test_measures_are_those_of_a_loop() -> None:
    rng = np.random.default_rng(1)
    predicted, real, other = (rng.normal(size=(5, 12)) for _ in range(3))
    targets = np.array([0, 3, -1, 11, 5])
    found = scores(predicted, real, other, targets)

    def mean(change: np.ndarray, gene: int) -> float:
        return float(np.mean([change[q, gene] for q in range(5) if targets[q] != gene]))

    for p, target in enumerate(targets):
        genes = [g for g in range(12) if g != target]
        x, y, z = ([each[p][g] - mean(each, g) for g in genes] for each in (predicted, real, other))
        assert found["pearson"][p] == pytest.approx(np.corrcoef(x, y)[0, 1])
        plain = np.corrcoef([predicted[p, g] for g in genes], [real[p, g] for g in genes])[0, 1]
        assert found["plain_pearson"][p] == pytest.approx(plain)
        weighted = sum(abs(c) * (a - b) ** 2 for a, b, c in zip(x, y, z, strict=True))
        assert found["error"][p] == pytest.approx(-weighted / sum(abs(c) * b * b for b, c in zip(y, z, strict=True)))
        assert found["sign"][p] == pytest.approx(np.mean([a * b > 0 for a, b in zip(x, y, strict=True)]))
        assert found["overlap"][p] == 1, "of fewer features than the top all are in it"
        seen = [[i for i, g in enumerate(genes) if g != targets[q]] for q in range(5)]
        far = [np.mean([abs(x[i] - (real[q, genes[i]] - mean(real, genes[i]))) for i in seen[q]]) for q in range(5)]
        assert found["discrimination"][p] == pytest.approx(1 - sum(d < far[p] for d in far) / 4)


def test_the_truth_comes_near_the_ceiling_and_above_it_where_cells_are_few() -> None:
    truth, real, other = _truth(noise=0.3)
    table = agreement({"truth": truth, "other": other}, real, other, seed=3)
    for measure in MEASURES:
        assert _value(table, "other", measure) == pytest.approx(1), "the ceiling is the other half"
    assert _value(table, "truth", "pearson") > 1
    assert _value(table, "truth", "discrimination") > 0.95
    assert (table["low"] <= table["headline"] + 1e-9).all()
    assert (table["headline"] <= table["high"] + 1e-9).all()


def test_what_knows_only_the_shared_change_earns_nothing_but_by_the_plain_correlation() -> None:
    truth, real, other = _truth(noise=0.3)
    guess = truth.mean(axis=0) + 0.01 * np.random.default_rng(2).normal(size=truth.shape)
    table = agreement({"guess": guess}, real, other)
    assert _value(table, "guess", "plain_pearson", "value") > 0.9
    for measure in ("pearson", "sign", "discrimination"):
        assert abs(_value(table, "guess", measure)) < 0.25


def test_a_prediction_of_noise_is_called_null_as_often_as_the_interval_says() -> None:
    outside = 0
    for seed in range(15):
        _, real, other = _truth(noise=0.3, seed=seed)
        guess = np.random.default_rng(1000 + seed).normal(size=real.shape)
        table = agreement({"guess": guess}, real, other, seed=seed)
        outside += not (_value(table, "guess", "pearson", "low") <= 0 <= _value(table, "guess", "pearson", "high"))
    assert outside <= 4  # 1 of 15 is to be expected


def test_the_target_itself_does_not_count() -> None:
    _, real, other = _truth(noise=1.0)
    targets = np.arange(N)
    for each in (real, other):
        each[np.arange(N), targets] = -50
    only_target = np.zeros_like(real)
    only_target[np.arange(N), targets] = -50
    with_it = agreement({"t": only_target}, real, other)
    without = agreement({"t": only_target}, real, other, targets)
    assert _value(with_it, "t", "pearson", "value") > 0.9
    assert abs(_value(without, "t", "pearson", "value")) < 0.3


def test_what_says_the_same_of_all_is_at_chance() -> None:
    _, real, other = _truth(noise=0.3)
    table = agreement({"nothing": np.zeros_like(real)}, real, other)
    for name in ("nothing", "mean"):
        for measure in ("pearson", "sign", "overlap"):
            assert _value(table, name, measure) == pytest.approx(0, abs=1e-9)
    assert _value(table, "mean", "plain_pearson", "value") > 0.9


def test_what_does_not_fit_is_said() -> None:
    truth, real, other = _truth(noise=0.3)
    with pytest.raises(InputError, match="shape"):
        agreement({"x": truth[:, :5]}, real, other)
    missing = truth.copy()
    missing[2:] = np.nan
    with pytest.raises(InputError, match="x predicts the change of 2 perturbations"):
        agreement({"x": missing}, real, other)
    real[0, 0] = np.nan
    with pytest.raises(InputError, match="not finite"):
        agreement({"x": truth}, real, other)

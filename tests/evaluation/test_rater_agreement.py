"""Agreement against plain formulas and planted truth."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.stats
from sklearn.metrics import cohen_kappa_score

from cellglass.evaluation import rater_agreement as module
from cellglass.evaluation.rater_agreement import agreement, between_raters, difference, weighted_kappa, within_raters


def plain_kappa(first: list[int], second: list[int]) -> float:
    n = len(first)
    seen = sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) / n
    chance = sum((a - b) ** 2 for a, b in itertools.product(first, second)) / n**2
    return 1 - seen / chance


def study(
    seed: int,
    *,
    effect: float = 0.0,
    n_raters: int = 4,
    n_items: int = 16,
    whole: bool = False,
    noise: float = 0.6,
    rater_sd: float = 0.5,
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    raters, rows = rng.normal(0, 1, n_raters) * rater_sd, []
    for kind in ("concept", "neuron"):
        for number in range(n_items):
            level = 3 + (effect if kind == "concept" else 0) + rng.normal(0, 0.5)
            for r in range(n_raters):
                rating = level + raters[r] + rng.normal(0, noise)
                rating = int(np.clip(round(rating), 1, 5)) if whole else rating
                rows.append({"rater": f"r{r}", "item": f"{kind} {number}", "kind": kind, "rating": rating})
    return pd.DataFrame(rows).assign(repeat=False)


@pytest.mark.parametrize("seed", range(4))
def test_kappa_is_the_plain_formula_and_scikit_learns(seed: int) -> None:
    rng = np.random.default_rng(seed)
    first = rng.integers(1, 6, 40)
    second = np.clip(first + rng.integers(-1, 2, 40), 1, 5)
    found = weighted_kappa(first, second)
    np.testing.assert_allclose(found, plain_kappa(first.tolist(), second.tolist()))
    np.testing.assert_allclose(found, cohen_kappa_score(first, second, weights="quadratic"))


def test_kappa_at_its_ends() -> None:
    assert weighted_kappa([1, 3, 5], [1, 3, 5]) == 1
    assert weighted_kappa([1, 5], [5, 1]) == -1
    assert np.isnan(weighted_kappa([2, 2], [2, 2]))
    assert np.isnan(weighted_kappa([], []))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn warns of what it divides by
        for first, second in (([1, 1, 1], [1, 1, 5]), ([5, 4, 3, 2], [1, 2, 3, 4]), ([1], [5])):
            theirs = cohen_kappa_score(first, second, weights="quadratic", labels=range(1, 6))
            np.testing.assert_allclose(weighted_kappa(first, second), theirs, atol=1e-12)


def test_in_a_balanced_study_the_model_is_the_formula() -> None:
    table = study(3, effect=1.0)
    found = difference(table)
    means = table.groupby(["kind", "item"])["rating"].mean()
    one, other = means["concept"], means["neuron"]
    assert found.method == "mixed model"
    np.testing.assert_allclose(found.difference, one.mean() - other.mean(), atol=1e-6)
    pooled = (one.var() + other.var()) / 2
    np.testing.assert_allclose(found.se, np.sqrt(pooled * 2 / 16), rtol=0.02)


def reml(table: pd.DataFrame) -> tuple[float, float]:
    """Return effect and standard error of the same model by its likelihood, written out over dense matrices."""
    y = table["rating"].to_numpy(float)
    x = np.column_stack([np.ones(len(y)), table["kind"] == "concept"]).astype(float)
    parts = [np.equal.outer(table[name].to_numpy(str), table[name].to_numpy(str)) for name in ("rater", "item")]

    def fitted(logs: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
        v = sum(np.exp(log) * part for log, part in zip(logs, [*parts, np.eye(len(y))], strict=True))
        inverse = np.linalg.inv(v)
        information = x.T @ inverse @ x
        beta = np.linalg.solve(information, x.T @ inverse @ y)
        rest = y - x @ beta
        minus = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1] + rest @ inverse @ rest
        return minus, beta, np.linalg.inv(information)

    best = scipy.optimize.minimize(lambda logs: fitted(logs)[0], np.log([0.3, 0.3, 0.3]), method="Nelder-Mead",
                                   options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 4000})  # fmt: skip
    _, beta, covariance = fitted(best.x)
    return float(beta[1]), float(np.sqrt(covariance[1, 1]))


@pytest.mark.parametrize("seed", [1, 4])
def test_the_model_is_its_likelihood_also_where_ratings_are_missing(seed: int) -> None:
    table = study(seed, effect=0.8, n_raters=4, n_items=8)
    table = table[np.random.default_rng(seed).random(len(table)) < 0.75]
    found = difference(table)
    effect, se = reml(table)
    assert found.method == "mixed model"
    np.testing.assert_allclose(found.difference, effect, atol=2e-3)
    np.testing.assert_allclose(found.se, se, rtol=5e-3)
    half = scipy.stats.t.ppf(0.975, table["item"].nunique() - 2) * found.se
    np.testing.assert_allclose([found.low, found.high], [found.difference - half, found.difference + half])


def test_the_interval_covers_what_was_planted() -> None:
    covered = [
        f.low < 0.7 < f.high
        for f in (difference(study(seed, effect=0.7, n_items=10, n_raters=3)) for seed in range(30))
    ]
    assert np.mean(covered) > 0.8  # 95 % but for chance: 24 of 30 has a chance of 1 in 300


@pytest.mark.slow
@pytest.mark.parametrize(("rater_sd", "whole"), [(0.0, False), (0.5, False), (1.0, False), (0.0, True), (0.5, True)])
def test_the_interval_covers_95_percent(rater_sd: float, whole: bool) -> None:
    """With whole ratings the truth is what very many items give: levels 1 and 5 cut the effect a little short."""
    truth = 0.7
    if whole:
        large = (study(10_000 + seed, effect=0.7, rater_sd=rater_sd, whole=True, n_items=2000) for seed in range(12))
        means = [table.groupby("kind")["rating"].mean() for table in large]
        truth = float(np.mean([one["concept"] - one["neuron"] for one in means]))
    options = {"effect": 0.7, "rater_sd": rater_sd, "whole": whole, "n_items": 12, "n_raters": 3}
    found = [difference(study(seed, **options)) for seed in range(200)]
    covered = np.mean([one.low < truth < one.high for one in found])
    assert 0.915 <= covered <= 0.985  # 95 % of 200, and 2.3 standard errors
    assert {one.method for one in found} == {"mixed model"}
    assert abs(np.mean([one.difference for one in found]) - truth) < 0.06


@pytest.mark.slow
def test_raters_so_apart_that_they_use_few_levels_cost_a_little_coverage() -> None:
    """A rater near the end of the scale sees a smaller effect, which no model of sums has; it stays near 90 %."""
    options = {"effect": 0.7, "rater_sd": 1.0, "whole": True}
    large = (study(10_000 + seed, n_raters=10, n_items=1000, **options) for seed in range(12))
    means = [table.groupby("kind")["rating"].mean() for table in large]
    truth = float(np.mean([one["concept"] - one["neuron"] for one in means]))
    found = [difference(study(seed, n_items=12, n_raters=3, **options)) for seed in range(200)]
    assert np.mean([one.low < truth < one.high for one in found]) >= 0.87


@pytest.mark.slow
@pytest.mark.parametrize("rater_sd", [0.0, 0.7])
@pytest.mark.parametrize("n_raters", [1, 2, 5])
def test_an_effect_that_is_not_there_is_found_in_5_percent(n_raters: int, rater_sd: float) -> None:
    p = [difference(study(seed, n_raters=n_raters, rater_sd=rater_sd, whole=True)).p for seed in range(240)]
    assert 0.015 <= np.mean(np.array(p) < 0.05) <= 0.085
    assert scipy.stats.kstest(p, "uniform").pvalue > 1e-3


@pytest.mark.slow
def test_the_interval_of_kappa_covers_what_it_is_in_all_pairs() -> None:
    rng = np.random.default_rng(0)

    def pairs(n: int) -> tuple[np.ndarray, np.ndarray]:
        first = rng.integers(1, 6, n)
        return first, np.clip(first + rng.choice([-1, 0, 0, 1], n), 1, 5)

    truth = weighted_kappa(*pairs(500_000))
    intervals = [module._with_interval(*pairs(60), "x", "items") for _ in range(400)]
    covered = np.mean([one["low"] < truth < one["high"] for one in intervals])
    assert 0.89 <= covered <= 0.98  # a percentile interval is a little short


def test_item_means_cover_it_too_and_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_mixed_model", lambda *_: None)
    found = [difference(study(seed, effect=0.7)) for seed in range(100)]
    assert {f.method for f in found} == {"item means"}
    assert 0.87 <= np.mean([f.low < 0.7 < f.high for f in found]) <= 1


def test_one_rater_is_compared_by_item_means() -> None:
    found = difference(study(1, effect=2.0, n_raters=1))
    assert found.method == "item means"
    assert found.low > 0


def test_where_nothing_is_planted_little_is_found() -> None:
    p = np.array([difference(study(seed, n_raters=1, whole=True)).p for seed in range(60)])
    assert (p < 0.05).mean() < 0.15


def test_within_counts_repeats_and_between_first_ratings_alone() -> None:
    table = study(5, whole=True)
    again = table[table["rater"] == "r0"].head(10).assign(repeat=True)
    again["rating"] = np.clip(again["rating"] + np.tile([0, 1], 5), 1, 5)
    both = pd.concat([table, again])
    first = table[table["rater"] == "r0"]["rating"].head(10).tolist()
    within = {row["rater"]: row for row in within_raters(both)}
    np.testing.assert_allclose(within["r0"]["kappa"], plain_kappa(first, again["rating"].tolist()))
    assert (within["r0"]["n"], within["r1"]["n"], within["r1"]["kappa"]) == (10, 0, None)
    assert within["r0"]["low"] <= within["r0"]["kappa"] <= within["r0"]["high"]
    assert between_raters(both) == between_raters(table)
    assert len(between_raters(table)) == 6


def test_all_of_it_is_plain_values_and_an_empty_study_has_none() -> None:
    table = study(2, effect=1.0, whole=True)
    found = agreement(table)
    assert set(found["means"]) == {"concept", "neuron"}
    assert [one["against"] for one in found["differences"]] == ["neuron"]
    assert agreement(table.head(0)) == {"within": [], "between": [], "means": {}, "differences": []}
    assert difference(table[table["kind"] == "concept"]) is None


def test_of_too_few_ratings_nothing_is_told_but_what_is_missing() -> None:
    table = study(5, whole=True, n_items=12)
    again = table[table["rater"] == "r0"].head(12).assign(repeat=True)
    for n, kappa, interval in ((0, False, False), (2, False, False), (5, True, False), (10, True, True)):
        row = within_raters(pd.concat([table, again.head(n)]))[0]
        assert (row["n"], row["kappa"] is not None, row["low"] is not None) == (n, kappa, interval)
        assert row["needs"] == (
            "" if interval else f"its interval needs at least 10 items rated twice; there are {n}" if kappa
            else f"needs at least 5 items rated twice; there are {n or 'none'}"
        )  # fmt: skip
    few = between_raters(table[table["item"].isin(["concept 0", "neuron 3"])])
    assert {(row["kappa"], row["needs"]) for row in few} == {
        (None, "needs at least 5 items that both rated; there are 2")
    }
    same = table[table["rater"].isin(["r0", "r1"])].assign(rating=3)
    assert between_raters(same)[0]["needs"] == "needs ratings that differ; all are the same"


def test_no_interval_of_a_difference_leaves_the_scale() -> None:
    few = difference(study(1, whole=True, n_items=4))
    assert np.isnan([few.low, few.high, few.p]).all()
    assert few.needs == "its interval needs at least 5 items of each kind; rated were 4 concepts and 4 neurons"
    for seed, noise in itertools.product(range(5), (0.6, 4.0)):
        found = difference(study(seed, n_items=5, n_raters=1, noise=noise))
        wide = found.needs.startswith("its interval needs more items or raters; it would leave the scale")
        assert np.isnan(found.low) == wide == (noise > 1)
        assert wide or -4 <= found.low < found.high <= 4
    assert agreement(study(1, whole=True, n_items=4))["differences"][0]["low"] is None

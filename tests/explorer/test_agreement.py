"""Agreement against plain formulas and planted truth."""

from __future__ import annotations

import itertools

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import cohen_kappa_score

from cellglass.explorer import agreement as module
from cellglass.explorer.agreement import agreement, between_raters, difference, weighted_kappa, within_raters


def plain_kappa(first: list[int], second: list[int]) -> float:
    n = len(first)
    seen = sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) / n
    chance = sum((a - b) ** 2 for a, b in itertools.product(first, second)) / n**2
    return 1 - seen / chance


def study(
    seed: int, *, effect: float = 0.0, n_raters: int = 4, n_items: int = 16, whole: bool = False, noise: float = 0.6
) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    raters, rows = rng.normal(0, 0.5, n_raters), []
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


def test_in_a_balanced_study_the_model_is_the_formula() -> None:
    table = study(3, effect=1.0)
    found = difference(table)
    means = table.groupby(["kind", "item"])["rating"].mean()
    one, other = means["concept"], means["neuron"]
    assert found.method == "mixed model"
    np.testing.assert_allclose(found.difference, one.mean() - other.mean(), atol=1e-6)
    pooled = (one.var() + other.var()) / 2
    np.testing.assert_allclose(found.se, np.sqrt(pooled * 2 / 16), rtol=0.02)


def test_the_interval_covers_what_was_planted() -> None:
    covered = [
        f.low < 0.7 < f.high
        for f in (difference(study(seed, effect=0.7, n_items=10, n_raters=3)) for seed in range(30))
    ]
    assert np.mean(covered) > 0.8  # 95 % but for chance: 24 of 30 has a chance of 1 in 300


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

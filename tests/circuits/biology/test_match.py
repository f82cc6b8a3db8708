"""Matches of planted effects: strong pairs are found, hubs are no excess, signs and co-expression as by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cellglass.circuits.biology.match import EFFECT, REST, RIVAL, against_regulation
from cellglass.circuits.biology.regulation import Regulation
from cellglass.errors import InputError
from cellglass.evaluation.recovery import auroc

S, T = 20, 25


def known(seed: int = 0, share: float = 0.15) -> Regulation:
    rng = np.random.default_rng(seed)
    at = np.argwhere(rng.random((S, T)) < share)
    sign = rng.choice([-1, 0, 1], len(at))
    table = pd.DataFrame({"source": [f"S{i}" for i in at[:, 0]], "target": [f"T{i}" for i in at[:, 1]], "sign": sign})
    return Regulation(table, "planted")


def table_of(values: np.ndarray) -> pd.DataFrame:
    s, t = np.indices(values.shape)
    return pd.DataFrame({"source": [f"S{i}" for i in s.ravel()], "target": [f"T{i}" for i in t.ravel()],
                         "effect": values.ravel()})  # fmt: skip


def places(pairs: Regulation) -> tuple[np.ndarray, np.ndarray]:
    return tuple(pairs.table[name].str[1:].astype(int).to_numpy() for name in ("source", "target"))


def planted(pairs: Regulation) -> np.ndarray:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(S, T)) * 0.1
    sign = pairs.table["sign"].to_numpy()
    values[places(pairs)] += np.where(sign == 0, rng.choice([-1, 1], len(sign)), sign)
    return values


def test_strong_pairs_are_found_and_the_null_is_a_half() -> None:
    pairs = known()
    match = against_regulation(table_of(planted(pairs)), pairs, draws=200)
    row = match.table.loc[EFFECT]
    assert row["pairs"] == len(pairs.table)
    assert row["pairs"] + row["others"] == pairs.table["source"].nunique() * pairs.table["target"].nunique()
    assert row["auroc"] > 0.99
    assert row["auroc_null"] == pytest.approx(0.5, abs=0.08)
    assert row["auroc_p"] == pytest.approx(1 / 201)
    assert row["rank"] < 0.2 < 0.4 < row["rank_null"]
    assert row["rank_p"] == pytest.approx(1 / 201)
    assert (row["signed"], row["signs"]) == ((pairs.table["sign"] != 0).sum(), 1)
    assert row["signs_null"] == pytest.approx(0.5, abs=0.1)
    assert row["signs_p"] < 0.01
    assert match.moved > 0.5
    assert match.unmeasured == 0


def test_scores_are_those_of_plain_loops() -> None:
    pairs = known(3)
    values = np.random.default_rng(2).normal(size=(S, T)).round(1)  # with ties
    row = against_regulation(table_of(values), pairs, draws=5).table.loc[EFFECT]
    members = np.zeros((S, T), bool)
    members[places(pairs)] = True
    assert row["auroc"] == pytest.approx(auroc(np.abs(values).ravel(), members.ravel()))
    ranks = []
    for i, j in zip(*places(pairs), strict=True):
        column = np.abs(values[:, j])
        above = (column > column[i]).sum() + ((column == column[i]).sum() - 1) / 2
        ranks.append(above / (S - 1))
    assert row["rank"] == pytest.approx(np.mean(ranks))


def test_hubs_alone_are_no_excess() -> None:
    """Genes that are often sources act on everything, and more known pairs are theirs: AUROC is high, the null too."""
    rng = np.random.default_rng(4)
    strength = np.exp(rng.normal(size=(S, 1)))
    chance = np.clip(strength / strength.max(), 0, 0.6)
    at = np.argwhere(rng.random((S, T)) < chance)
    table = pd.DataFrame({"source": [f"S{i}" for i in at[:, 0]], "target": [f"T{i}" for i in at[:, 1]], "sign": 0})
    values = strength * np.exp(rng.normal(size=(S, T)) * 0.2)
    row = against_regulation(table_of(values), Regulation(table, "hubs"), draws=300).table.loc[EFFECT]
    assert row["auroc"] > 0.65
    assert abs(row["auroc"] - row["auroc_null"]) < 0.03
    assert row["auroc_p"] > 0.05
    assert np.isnan(row["signs"])


def test_co_expression_stands_beside_and_is_taken_out() -> None:
    pairs = known()
    values = planted(pairs)
    names = [f"S{i}" for i in range(S)] + [f"T{i}" for i in range(T)]
    rival = pd.DataFrame(np.nan, index=names, columns=names)
    rival.loc[names[:S], names[S:]] = np.tanh(values)
    found = against_regulation(table_of(values), pairs, rival=rival, draws=100).table
    assert found.index.tolist() == [EFFECT, RIVAL, REST]
    assert found.loc[RIVAL, "auroc"] == pytest.approx(found.loc[EFFECT, "auroc"])
    assert found.loc[REST, "auroc"] == pytest.approx(0.5, abs=1e-6)  # the same ranks leave nothing
    rival.loc[names[:S], names[S:]] = np.random.default_rng(5).normal(size=(S, T))
    found = against_regulation(table_of(values), pairs, rival=rival, draws=100).table
    assert found.loc[RIVAL, "auroc"] == pytest.approx(0.5, abs=0.12)
    assert found.loc[REST, "auroc"] > 0.95


def test_pairs_that_were_not_measured_are_counted_and_others_refused() -> None:
    pairs = known()
    edges = table_of(planted(pairs))
    match = against_regulation(edges[edges["source"] != "S0"], pairs, draws=5)
    assert match.unmeasured == (pairs.table["source"] == "S0").sum() > 0
    few = edges.assign(n=np.where(edges["source"] == "S0", 2, 3))
    assert against_regulation(few, pairs, fewest=3, draws=5).unmeasured == match.unmeasured
    assert against_regulation(few, pairs, fewest=2, draws=5).unmeasured == 0
    with pytest.raises(InputError, match="planted: no known pair was measured"):
        against_regulation(edges.iloc[:0], pairs)
    with pytest.raises(InputError, match="no pair of the same genes that is not known"):
        against_regulation(edges, Regulation(pairs.table.iloc[:1], "planted"))
    with pytest.raises(InputError, match="draws is 0"):
        against_regulation(edges, pairs, draws=0)


def test_the_same_seed_gives_the_same_table() -> None:
    pairs = known()
    one, two = (against_regulation(table_of(planted(pairs)), pairs, draws=20, seed=3) for _ in range(2))
    pd.testing.assert_frame_equal(one.table, two.table)

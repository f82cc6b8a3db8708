"""A cell's values in a class circuit's order: what has no node goes to what was left out, and nothing is lost."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.circuits.classes.merging import Key, Merged
from cellglass.circuits.classes.tables import Part, arrays_of, choose, edge_table, node_table, only, summed
from cellglass.circuits.names import OTHER

ANSWER, REST, PROMPT = Key("answer"), Key("rest"), Key("token")


def merged(weights: dict[tuple[Key, Key], float], influence: dict[Key, float]) -> Merged:
    """A merged graph of some edges (target, source); every edge stays and passes its own size on."""
    keys = sorted({key for edge in weights for key in edge} | {REST, PROMPT})
    place = {key: i for i, key in enumerate(keys)}
    target, source = np.array([[place[key] for key in edge] for edge in weights]).T
    values = np.array(list(weights.values()), dtype=np.float32)
    features = [key for key in keys if key.kind == "feature"]
    return Merged(
        keys, np.ones(len(keys)), np.array([influence.get(key, 0.0) for key in keys]), np.arange(len(keys)) * 1.0,
        np.ones(len(keys), dtype=bool), target, source, values, np.abs(values), values > 0,
        np.array([[place[key], place[PROMPT]] for key in features]), np.full(len(features), 2.0),
    )  # fmt: skip


def gene(name: str) -> Key:
    return Key("token", gene=name)


A, B, C = Key("feature", 0, 1), Key("feature", 0, 2), Key("feature", 1, 1)
ONE = merged({(A, gene("X")): 1, (B, gene("X")): 2, (C, A): 3, (C, B): -4, (ANSWER, C): 5, (ANSWER, gene("Y")): 6},
             {A: 3, B: 1, C: 5, gene("X"): 2, gene("Y"): 1})  # fmt: skip
TWO = merged({(C, gene("Z")): 7, (ANSWER, C): 8, (ANSWER, gene("X")): 1}, {C: 1, gene("Z"): 9, gene("X"): 1})
PARTS = [Part("0", 0, ONE), Part("1", 0, TWO)]


def test_the_most_influential_are_chosen_and_the_rest_is_told_together() -> None:
    chosen = choose(lambda: PARTS, 2, 1)
    assert chosen.keys == [PROMPT, gene("Z"), gene(OTHER), A, C, REST, ANSWER]
    found = arrays_of(ONE, chosen)
    weight = found["edge weight"]
    rows = {chosen.keys[node]: row for row, node in enumerate(chosen.rows)}
    place = chosen.place
    assert weight[rows[C], place[A]] == 3
    assert weight[rows[C], place[REST]] == -4
    assert weight[rows[ANSWER], place[gene(OTHER)]] == 6
    assert weight[rows[A], place[gene(OTHER)]] == 1
    assert weight.sum() == pytest.approx(1 + 3 - 4 + 5 + 6)  # B has no row: what goes into it is dropped
    assert not found["edge share"][rows[C], place[REST]]
    assert found["node active"][place[REST]]
    assert found["at"].tolist() == [[2, 0, 0], [2, 0, 0]]


def test_what_a_cell_lacks_counts_as_nothing() -> None:
    chosen = choose(lambda: PARTS, 3, 3)
    found = summed(PARTS, chosen)
    nodes, edges = node_table(found, chosen), edge_table(found, chosen)
    node = {name: i for i, name in enumerate(nodes["name"])}
    one = edges[(edges["target"] == node["answer"]) & (edges["source"] == node["L1/1"])].iloc[0]
    assert (one["weight"], one["share"]) == (6.5, 1)
    assert one["weight_sd"] == pytest.approx(np.std([5, 8], ddof=1))
    other = edges[(edges["target"] == node["L1/1"]) & (edges["source"] == node["L0/1"])].iloc[0]
    assert (other["weight"], other["share"]) == (1.5, 0.5)
    assert nodes["active"][node["L0/2"]] == 0.5
    assert nodes["share"][node["Y"]] == 0.5
    assert nodes["influence"][node["L1/1"]] == 3
    assert nodes["genes"][node["L1/1"]] == ["prompt"]
    assert edges["weight"].dtype == np.float32


def test_cells_of_the_other_side_are_a_contrast() -> None:
    parts = [Part("0", 0, ONE), Part("1", 1, TWO)]
    chosen = choose(lambda: parts, 3, 3)
    found = summed(parts, chosen)
    edges = edge_table(found, chosen).set_index(["target", "source"])
    edge = (chosen.place[ANSWER], chosen.place[C])
    assert (edges["weight"][edge], edges["other_weight"][edge], edges["difference"][edge]) == (5, 8, -3)
    assert np.isnan(edges["difference_se"][edge])  # of one cell a side
    assert [part.unit for part in only(lambda: parts, {"0", "1"})] == ["0"]

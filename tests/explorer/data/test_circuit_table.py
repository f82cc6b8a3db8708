"""The first genes, features and heads: those of largest effect, with the numbers of the circuit."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.circuits.meanings import named
from cellglass.circuits.paths import total_effects
from cellglass.explorer.data.circuit_table import class_table, graph_table
from circuits.classes.made import circuit
from circuits.graphs import by_hand, with_heads


def test_of_a_cell_by_hand() -> None:
    graph = named(by_hand(), {(1, 9): "fires on CD79A"})
    table = graph_table(graph)
    effect = total_effects(graph)[:, 0]
    assert [row["name"] for row in table["genes"]] == ["CD79A"]
    assert table["genes"][0]["effect"] == pytest.approx(effect[4], rel=1e-3)
    assert [row["name"] for row in table["features"]] == ["L0/7", "L1/9", "L0/8"]
    assert (table["features"][1]["called"], table["features"][0]["at"]) == ("fires on CD79A", ["CD79A"])
    assert table["heads"] == []
    assert graph_table(graph.take(np.arange(8))) == {"genes": [], "features": [], "heads": []}


def test_heads_of_a_cell_say_where_they_look() -> None:
    graph = with_heads()
    heads = graph_table(graph)["heads"]
    row = graph.heads.strongest(1)[0]
    layer, head, effect = (graph.heads.table[name].iloc[row] for name in ("layer", "head", "effect"))
    assert heads[0]["name"] == f"head L{layer}.{head}"
    assert heads[0]["effect"] == pytest.approx(effect, rel=1e-3)
    assert set(heads[0]["at"]) <= set(graph.genes) - {""}
    assert len(heads) == 8


def test_of_a_class_with_share_spread_and_contrast() -> None:
    found = circuit()
    table = class_table(found)
    for part in ("genes", "features", "heads"):
        sizes = [abs(row["effect"]) for row in table[part]]
        assert sizes == sorted(sizes, reverse=True)
        assert {"effect_sd", "share", "difference", "difference_se"} <= set(table[part][0])
    first = found.heads().iloc[0]
    assert table["heads"][0]["effect"] == pytest.approx(first["effect"], rel=1e-3)
    assert table["heads"][0]["at"] == first["genes"]
    assert table["genes"][0]["name"] == found.genes().index[0]

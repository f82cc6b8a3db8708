"""The first genes, features and heads: those of largest effect, with the numbers of the circuit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
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
    assert table["heads"] == table["without"] == []
    assert graph_table(graph.take(np.arange(8))) == {"genes": [], "features": [], "heads": [], "without": []}


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
    assert table["without"] == []


def test_deleted_genes_have_a_table_and_a_column() -> None:
    columns = {"read": 1.0, "share": [0.5, 1.0, 0.0], "features": [0.5, -2.0, 0.25], "features_sd": 0.1}
    without = pd.DataFrame({"gene": ["CD79A", "<b>X</b>", "LYZ"], **columns, "deletion": 1.0})
    table = class_table(replace(circuit(), without=without))
    assert [row["name"] for row in table["without"]] == ["<b>X</b>", "CD79A", "LYZ"]
    assert (table["without"][0]["effect"], table["without"][0]["effect_sd"]) == (-2.0, 0.1)
    lost = {row["name"]: row["lost"] for row in table["genes"]}
    assert lost["CD79A"] == 0.5
    assert {lost[name] for name in lost if name not in ("CD79A", "LYZ")} == {None}

"""What the page gets of a graph: parts that add up to each target, whatever is left out, in plain values alone."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cellglass.circuits.graph import Graph
from cellglass.circuits.paths import path_lines, strongest_paths, total_effects
from cellglass.circuits.pruning import prune
from cellglass.explorer.data import circuit_view as module
from cellglass.explorer.data.circuit_view import graph_view, strongest
from cellglass.explorer.data.json import dumps
from circuits.graphs import built, by_hand


@pytest.fixture(scope="module")
def graph() -> Graph:
    return built(tokens=8, answers=2)


def dense(view: dict[str, Any]) -> np.ndarray:
    n = len(view["nodes"]["kind"])
    found = np.zeros((n, n))
    found[view["edges"]["target"], view["edges"]["source"]] = view["edges"]["weight"]
    return found


def column(view: dict[str, Any], name: str) -> np.ndarray:
    return np.array(view["nodes"][name], dtype=float)


def test_the_parts_of_every_node_add_up_to_it(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    for most_nodes, most_edges in ((4000, 60_000), (40, 60_000), (4000, 50)):
        monkeypatch.setattr(module, "MOST_NODES", most_nodes)
        monkeypatch.setattr(module, "MOST_EDGES", most_edges)
        for one in (graph, prune(graph)):
            view = graph_view(one)
            assert len(view["nodes"]["kind"]) <= most_nodes
            assert len(view["edges"]["score"]) <= most_edges
            parts = dense(view).sum(axis=1) + sum(column(view, name) for name in ("bias", "rest", "more"))
            np.testing.assert_allclose(parts, column(view, "total"), atol=2e-2 * abs(parts).max())
            is_target = np.isin(view["nodes"]["kind"], ["feature", "answer"])
            value = column(view, "value")[is_target]
            np.testing.assert_allclose(column(view, "total")[is_target], value, rtol=1e-3, atol=1e-4)


def test_by_hand_every_number_is_the_graph_s() -> None:
    graph = by_hand()
    view = graph_view(graph)
    assert view["nodes"]["kind"] == ["feature"] * 3 + ["error", "token", "token", "answer"]
    kept = [0, 1, 2, 3, 4, 5, 8]
    np.testing.assert_allclose(dense(view), graph.weights.toarray()[np.ix_(kept, kept)])
    assert view["nodes"]["bias"] == [0.5, 0.4, 0, 0, 0, 0, 0.4]
    assert view["nodes"]["rest"] == [0, 0.1, 0, 0, 0, 0, 0.1]
    assert not any(view["nodes"][name][i] for name in ("more", "more_in", "more_out") for i in range(7))
    np.testing.assert_allclose(view["effects"][0], total_effects(graph)[kept, 0], rtol=1e-3)
    np.testing.assert_allclose(view["nodes"]["influence"], graph.influence()[kept], rtol=1e-3)
    assert view["edges"]["score"] == sorted(view["edges"]["score"], reverse=True)
    assert view["answers"] == [{"node": 6, "weight": 1}]
    paths = strongest_paths(graph, 40)
    assert [path["line"] for path in view["paths"][0]] == path_lines(graph, paths)
    assert view["paths"][0][0]["nodes"] == [4, 0, 2, 6]  # CD79A, L0/7, L1/9, B cell
    assert view["of"] == {"features": 3, "errors": 1, "tokens": 2, "edges": 12, "before": None}
    assert view["scores"][0]["replacement"] == pytest.approx(graph.scores().replacement, rel=1e-4)
    assert view["scores"][1]["completeness"] == pytest.approx(graph.bare().scores().completeness, rel=1e-4)


def test_what_is_left_out_is_counted(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_EDGES", 30)
    view = graph_view(graph)
    told = graph.of_kind("feature", "error", "token")
    there = (graph.weights.toarray() != 0)[:, told]
    kept = [i for i, kind in enumerate(graph.nodes["kind"]) if kind not in ("bias", "rest")]
    listed = dense(view) != 0
    np.testing.assert_array_equal(np.array(view["nodes"]["more_in"]) + listed.sum(1), there.sum(1)[kept])
    out = np.zeros(len(graph.nodes), dtype=int)
    out[told] = there.sum(0)
    np.testing.assert_array_equal(np.array(view["nodes"]["more_out"]) + listed.sum(0), out[kept])
    assert view["of"]["edges"] == there.sum()
    pruned = prune(graph)
    assert graph_view(pruned)["of"]["before"]["features"] == len(graph.of_kind("feature"))
    assert graph_view(pruned)["scores"] == [], "of a pruned graph they would say nothing"


def test_of_a_large_graph_paths_are_those_of_its_strongest_nodes(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = strongest(graph, 5)
    strength, some = graph.influence(), graph.of_kind("feature", "error")
    assert set(some[np.argsort(-strength[some])[:5]]) == set(kept) & set(some)
    monkeypatch.setattr(module, "MOST_FOR_PATHS", 5)
    part = graph.take(kept)
    view = graph_view(graph)
    for answer in (0, 1):
        lines = path_lines(part, strongest_paths(part, 40, answer=answer))
        assert [path["line"] for path in view["paths"][answer]] == lines
    for path in view["paths"][0]:
        assert view["nodes"]["kind"][path["nodes"][-1]] == "answer"
        assert view["nodes"]["kind"][path["nodes"][0]] == "token"


def test_what_a_graph_is_about_comes_as_text_and_numbers_alone(graph: Graph) -> None:
    about = {
        "title": ["no text"], "cell": 7, "target": "<b>", "answer": "1", "model": None,
        "transcoders": {"k": 8, "of": []},
        "scores": "none", "bare": {"replacement": True}, "controls": [3, {"of": "rewired", "n": 5}],
        "faithfulness": [{"size": 10, "share": 0.5, "test": "kept", "run": "live"}, {"size": "10", "share": 1},
                         {"size": 0, "share": 1}],
        "groups": [{"name": "g", "members": [[0, 7], [1, "x"], 3]}, {"name": "", "members": [[0, 7]]}, {"members": 1}],
        "genes": [{"gene": "CD79A", "total": 1.25, "deletion": None}, 5], "pruning": "no",
        "explained": [{"layer": 1, "feature": 9, "genes": "CD79A", "f1": None, "null_q": 0.5}, {"layer": "x"}, 3],
    }  # fmt: skip
    view = graph_view(replace(graph, about=about))
    assert view["about"] == {
        "title": "", "model": "", "cell": "7", "cells": "", "target": "<b>", "against": "", "fingerprint": "",
        "transcoders": "k 8", "answer": None,
    }  # fmt: skip
    assert [one["of"] for one in view["scores"]] == ["bare", "rewired"]
    assert view["scores"][0]["replacement"] is None
    assert [row["size"] for row in view["curve"]] == [10]
    assert view["groups"] == [{"name": "g", "features": [[0, 7]]}]
    assert list(view["explained"]) == ["L1/9"]
    of_feature = view["explained"]["L1/9"]
    assert (of_feature["genes"], of_feature["f1"], of_feature["null_q"], of_feature["label"]) == (
        "CD79A",
        None,
        0.5,
        "",
    )
    assert view["checks"] == {"columns": ["total", "deletion"], "rows": {"CD79A": [1.25, None]}}
    assert json.loads(dumps(view), parse_constant=pytest.fail) == view


def test_a_graph_without_answers_or_features_has_a_view(graph: Graph) -> None:
    bare = graph_view(graph.bare())
    assert "feature" not in bare["nodes"]["kind"]
    assert bare["paths"][0]
    nothing = graph_view(by_hand().take(np.arange(8)))
    assert (nothing["answers"], nothing["paths"], nothing["effects"], nothing["scores"]) == ([], [], [], [])

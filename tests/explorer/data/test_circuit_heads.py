"""Heads on the page: numbers are the graph's, rows add up, what is damaged or not there is left out."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from cellglass.circuits.graph import Graph
from cellglass.explorer.data import circuit_heads as module
from cellglass.explorer.data.circuit_heads import heads_view
from cellglass.explorer.data.circuit_view import graph_view
from cellglass.explorer.data.json import dumps
from circuits.graphs import by_hand, with_heads


@pytest.fixture(scope="module")
def graph() -> Graph:
    return with_heads()


def test_every_number_is_the_graph_s(graph: Graph) -> None:
    view = graph_view(graph)
    heads, own = view["heads"], graph.heads
    order = own.strongest(100)
    assert heads["layer"] == own.table["layer"].iloc[order].tolist()
    np.testing.assert_allclose(heads["effect"], own.table["effect"].iloc[order], rtol=1e-3)
    np.testing.assert_allclose(heads["direct"], own.table["direct"].iloc[order], rtol=1e-3, atol=1e-9)
    for place, row in enumerate(order):
        assert sum(w for _, w in heads["seen"][place]) == pytest.approx(
            own.table["effect"].iloc[row], rel=1e-2, abs=1e-2
        )
        both = sum(w for _, w in heads["reads"][place]) + heads["more"][place]
        assert both == pytest.approx(own.table["effect"].iloc[row], rel=1e-2, abs=1e-3)
    kinds = {view["nodes"]["kind"][node] for pairs in heads["reads"] for node, _ in pairs}
    assert kinds <= {"feature", "error", "token"}
    n = len(view["nodes"]["kind"])
    edge = dict(
        zip(zip(view["edges"]["target"], view["edges"]["source"], strict=True), view["edges"]["weight"], strict=True)
    )
    sums: dict[tuple[int, int], float] = {}
    for t, s, w in zip(*(heads["parts"][name] for name in ("target", "source", "weight")), strict=True):
        assert max(t, s) < n
        sums[t, s] = sums.get((t, s), 0) + w
    some = [pair for pair in sums if pair in edge]
    assert len(some) > 0.9 * len(sums)
    np.testing.assert_allclose(
        [sums[p] for p in some], [edge[p] for p in some], atol=0.15 * max(map(abs, edge.values()))
    )
    assert min(heads["parts"]["head"]) == -1
    look = heads["looks"][0]
    assert look["head"] == 0
    assert look["score"] == pytest.approx(own.looks[0]["score"], rel=1e-3)
    assert json.loads(dumps(view), parse_constant=pytest.fail)["heads"]["layer"] == heads["layer"]


def test_what_is_damaged_is_left_out_and_few_are_listed(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    looks = [3, {"head": 0}, {**graph.heads.looks[0], "query": 99}, {**graph.heads.looks[0], "score": float("nan")}]
    looks = [one for one in looks if isinstance(one, dict)]
    new = np.arange(len(graph.nodes))
    assert heads_view(replace(graph, heads=replace(graph.heads, looks=looks)), new)["looks"] == []
    monkeypatch.setattr(module, "MOST_HEADS", 2)
    monkeypatch.setattr(module, "MOST_ROWS", 1)
    monkeypatch.setattr(module, "MOST_PARTS", 5)
    few = heads_view(graph, new)
    assert [len(few[name]) for name in ("layer", "seen", "reads")] == [2, 2, 2]
    assert all(len(pairs) == 1 for pairs in few["seen"])
    assert len(few["parts"]["weight"]) <= 5
    assert max(few["parts"]["head"]) <= 1
    assert heads_view(by_hand(), np.arange(9)) is None

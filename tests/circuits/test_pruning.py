"""Pruning against the same by plain loops, and what it takes away is still told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cellglass.circuits.graph import Graph
from cellglass.circuits.pruning import cumulative_influence, kept, prune
from cellglass.errors import InputError
from circuits.graphs import built, by_hand


def loops(graph: Graph, node_share: float, edge_share: float) -> tuple[set[int], set[tuple[int, int]]]:
    """Prune with whole matrices and plain loops."""
    kind, n = graph.nodes["kind"].tolist(), len(graph.nodes)
    whole = np.abs(graph.weights.toarray().astype(float))
    whole[:, [i for i in range(n) if kind[i] in ("bias", "rest")]] = 0
    w = np.zeros(n)
    w[graph.of_kind("answer")] = graph.answer_weights

    def share(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rows = matrix / np.maximum(matrix.sum(1, keepdims=True), 1e-10)
        return rows, w @ (np.linalg.inv(np.eye(n) - rows) - np.eye(n))

    def highest(scores: dict, part: float) -> set:
        total, whole = 0.0, sum(scores.values())
        for lowest in sorted(scores.values(), reverse=True):
            total += lowest
            if total >= part * whole:
                break
        return {key for key in scores if scores[key] >= lowest * (1 - 1e-9)}  # equal ones stay or go together

    _, b = share(whole)
    nodes = highest({i: b[i] for i in range(n) if b[i] > 0}, node_share)
    nodes |= {i for i in range(n) if kind[i] not in ("feature", "error")}
    small = whole.copy()
    for i in range(n):
        if i not in nodes:
            small[i], small[:, i] = 0, 0
    rows, b = share(small)
    scores = {(i, j): rows[i, j] * (b[i] + w[i]) for i in range(n) for j in range(n)}
    edges = highest({edge: score for edge, score in scores.items() if score > 0}, edge_share)
    while True:
        lost = {
            i for i in nodes
            if (kind[i] in ("feature", "error") and not any(j == i for _, j in edges))
            or (kind[i] == "feature" and not any(j == i for j, _ in edges))
        }  # fmt: skip
        if not lost:
            return nodes, edges
        nodes -= lost
        edges = {(i, j) for i, j in edges if i in nodes and j in nodes}


@pytest.mark.parametrize(("name", "answers"), [("gpt_neox", 1), ("bert", 3)])
@pytest.mark.parametrize("shares", [(0.8, 0.98), (0.5, 0.7), (0.9, 0.3)])
def test_what_is_kept_is_what_loops_keep(name: str, answers: int, shares: tuple[float, float]) -> None:
    graph = built(name, answers=answers)
    nodes, edges = kept(graph, *shares)
    wanted, between = loops(graph, *shares)
    assert set(nodes.tolist()) == wanted
    assert set(zip(*(x.tolist() for x in edges.nonzero()), strict=True)) == between
    assert 0 < sum(i < len(graph.of_kind("feature")) for i in wanted) < len(graph.of_kind("feature"))


def test_each_row_adds_up_to_its_target_as_before() -> None:
    graph = built(answers=2)
    pruned = prune(graph, 0.6, 0.8)
    nodes, _ = kept(graph, 0.6, 0.8)
    assert len(pruned.nodes) == len(nodes) < len(graph.nodes)
    before = np.asarray(graph.weights.astype(float).sum(1)).ravel()[nodes]
    after = np.asarray(pruned.weights.sum(1)).ravel()
    np.testing.assert_allclose(after, before, rtol=1e-12, atol=1e-12)
    features = pruned.of_kind("feature", "answer")
    np.testing.assert_allclose(after[features], pruned.nodes["value"][features], rtol=1e-4, atol=1e-4)


def test_weights_that_stay_are_as_they_were() -> None:
    graph = built()
    nodes, edges = kept(graph)
    pruned = prune(graph)
    assert pruned.about["pruning"] == {
        "node_share": 0.8, "edge_share": 0.98, "features": len(graph.of_kind("feature")),
        "errors": len(graph.of_kind("error")),
    }  # fmt: skip
    assert "pruning" not in graph.about
    ours, theirs, mask = pruned.weights.toarray(), graph.weights.toarray(), edges.toarray()
    for i, target in enumerate(nodes):
        for j, source in enumerate(nodes):
            kind = graph.nodes["kind"][source]
            if kind == "bias":
                assert ours[i, j] == theirs[target, source]
            elif kind != "rest":
                assert ours[i, j] == (theirs[target, source] if mask[target, source] else 0)


def test_everything_is_kept_at_one_and_nothing_of_features_at_little() -> None:
    graph = by_hand()
    np.testing.assert_allclose(prune(graph, 1, 1).weights.toarray(), graph.weights.toarray())
    few = prune(graph, 0.0, 1)  # the strongest node alone: a token
    assert few.nodes["kind"].tolist() == ["token", "token", "bias", "rest", "answer"]
    np.testing.assert_allclose(few.weights.toarray()[-1], [1.0, 0.3, 0.4, 8.3, 0])


def test_a_graph_without_a_node_for_what_is_left_out_gets_one() -> None:
    graph = by_hand()
    graph = graph.take(np.setdiff1d(np.arange(9), graph.of_kind("rest")))
    found = prune(graph, 0.0, 1)
    assert found.nodes["kind"].tolist() == ["token", "token", "bias", "rest", "answer"]
    np.testing.assert_allclose(found.weights.toarray()[-1], [1.0, 0.3, 0.4, 8.2, 0])


def test_cumulative_influence_is_the_share_at_a_nodes_rank() -> None:
    graph = built()
    strength, found = graph.influence(), cumulative_influence(graph)
    for i in np.flatnonzero(strength):
        assert found[i] == pytest.approx(strength[strength >= strength[i]].sum() / strength.sum())
    empty = replace(by_hand(), weights=by_hand().weights * 0)
    assert (cumulative_influence(empty) == 1).all()
    assert prune(empty).nodes["kind"].tolist() == ["token", "token", "bias", "rest", "answer"]


@pytest.mark.parametrize("shares", [(1.2, 0.9), (0.5, -0.1), (float("nan"), 0.9)])
def test_a_share_that_is_none_is_refused(shares: tuple[float, float]) -> None:
    with pytest.raises(InputError, match="it is a share of the whole influence, from 0 to 1"):
        prune(by_hand(), *shares)

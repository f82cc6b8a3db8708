"""A graph as data: parts, scores beside those of the bare graph, genes over their tokens."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.circuits.build import build_graph
from cellglass.circuits.graph import Graph
from circuits.test_build import GENES, TEXTS, asked


@pytest.fixture(scope="module")
def graph() -> Graph:
    made, replacement, answers = asked("gpt_neox")
    return build_graph(made, replacement, answers, TEXTS, GENES, most=50, about={"cell": "c1"})


def test_a_graph_without_features_scores_what_is_direct(graph: Graph) -> None:
    bare = graph.bare()
    assert not len(bare.of_kind("feature"))
    rows = abs(bare.weights[bare.of_kind("answer")].toarray())
    tokens, errors = rows[:, bare.of_kind("token")].sum(1), rows[:, bare.of_kind("error")].sum(1)
    share = float((graph.answer_weights * tokens / (tokens + errors)).sum())
    assert bare.scores().replacement == pytest.approx(share)
    assert bare.scores().completeness == pytest.approx((1 + share) / 2)


def test_influence_counts_no_bias_and_nothing_left_out(graph: Graph) -> None:
    b = graph.influence()
    assert not b[graph.of_kind("bias", "rest")].any()
    assert b[graph.of_kind("token", "error")].sum() == pytest.approx(1)


def test_edges_are_scored_as_pruning_scores_them(graph: Graph) -> None:
    size, b = abs(graph.weights.toarray().astype(float)), graph.influence()
    size[:, graph.of_kind("bias", "rest")] = 0
    passed = b.copy()
    passed[graph.of_kind("answer")] += graph.answer_weights
    for target, row in enumerate(size):
        size[target] = row / row.sum() * passed[target] if row.sum() else 0
    np.testing.assert_allclose(graph.edge_influence().toarray(), size, atol=1e-12)
    np.testing.assert_allclose(size.sum(axis=0), b, atol=1e-12)  # what goes through a node is what leaves it


def test_tokens_of_a_gene_are_one(graph: Graph) -> None:
    table = graph.gene_effects()
    assert set(table.index) == set(GENES) - {""}
    row = graph.weights[graph.of_kind("answer")[1]].toarray()[0]
    positions = [i for i, gene in enumerate(GENES) if gene == "G2"]
    assert len(positions) == 2
    assert table.loc["G2", "a1"] == pytest.approx(row[graph.of_kind("token")[positions]].sum())


def test_a_part_of_a_graph_keeps_its_weights(graph: Graph) -> None:
    kept = np.concatenate([graph.of_kind("feature")[:7], graph.of_kind("token", "answer")])
    part = graph.take(kept[::-1])
    part.check()
    np.testing.assert_array_equal(part.weights.toarray(), graph.weights[kept][:, kept].toarray())
    assert part.about == {"cell": "c1"}
    one = graph.take(np.setdiff1d(np.arange(len(graph.nodes)), graph.of_kind("answer")[:1]))
    np.testing.assert_array_equal(one.answer_weights, graph.answer_weights[1:])

"""Folding adds up what it folds, against plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.circuits.folding import fold
from cellglass.circuits.groups import given_groups, with_groups
from cellglass.circuits.pruning import prune
from circuits.graphs import built, by_hand


def test_weights_and_influence_are_sums_over_members() -> None:
    graph = prune(built(tokens=9, answers=2), 0.9, 0.99)
    folded, dense, strength = fold(graph), graph.weights.toarray(), graph.influence()
    members = [member for node in folded.nodes for member in node.members]
    assert sorted(members) == graph.of_kind("feature", "token", "error", "answer").tolist()
    for i, target in enumerate(folded.nodes):
        assert folded.influence[i] == pytest.approx(sum(strength[m] for m in target.members))
        for j, source in enumerate(folded.nodes):
            expected = sum(dense[a, b] for a in target.members for b in source.members)
            assert folded.weights[i, j] == pytest.approx(expected, abs=1e-12)
    for row, answer in zip(folded.constants, graph.of_kind("answer"), strict=True):
        assert row.tolist() == pytest.approx([dense[answer, graph.of_kind(k)].sum() for k in ("bias", "rest")])


def test_members_are_of_one_feature_and_one_gene() -> None:
    graph = built(tokens=9)
    folded = fold(graph)
    for node in folded.nodes:
        rows = graph.nodes.iloc[list(node.members)]
        if node.kind in ("feature", "token"):
            assert {graph.genes[place] or "prompt" for place in rows["position"]} == {node.column}
        if node.kind == "feature":
            assert len({(row.layer, row.feature) for row in rows.itertuples()}) == 1
            assert ("×" in node.label) == (len(rows) > 1)
    labels = [node.label for node in folded.nodes if node.kind == "token"]
    assert sorted(labels) == sorted(["CD79A", "MS4A1", "NKG7", '<b> & "c"', "CD3D", "LYZ", "prompt: 2 tokens"])


def test_a_group_is_one_node_with_the_sums_of_its_members() -> None:
    plain = built(tokens=9)
    features = plain.nodes.iloc[plain.of_kind("feature")]
    some = list(dict.fromkeys(zip(features["layer"].tolist(), features["feature"].tolist(), strict=True)))
    members = [some[0], some[1], next(pair for pair in some if pair[0] == 1)]
    graph = with_groups(plain, given_groups(plain, {"B cell genes": members}))
    folded, dense, strength = fold(graph), graph.weights.toarray().astype(np.float64), graph.influence()
    (place,) = [i for i, node in enumerate(folded.nodes) if node.is_group]
    group = folded.nodes[place]
    rows = [i for i in graph.of_kind("feature") if (features["layer"][i], features["feature"][i]) in members]
    assert sorted(group.members) == rows
    assert group.label == f"B cell genes ×{len(rows)}"
    home = rows[int(np.argmax(strength[rows]))]
    assert (group.layer, group.column) == (features["layer"][home], graph.genes[features["position"][home]] or "prompt")
    for i, node in enumerate(folded.nodes):
        expected = 0 if i == place else sum(dense[a, b] for a in node.members for b in rows)
        assert folded.weights[i, place] == pytest.approx(expected, abs=1e-12)
    assert sum(len(node.members) for node in folded.nodes) == sum(len(node.members) for node in fold(plain).nodes)


def test_edge_influence_of_a_graph_that_folds_nothing_is_that_of_pruning() -> None:
    folded = fold(by_hand())
    n = np.abs(folded.weights)
    n /= np.maximum(n.sum(1, keepdims=True), 1e-10)
    answer = np.array([node.kind == "answer" for node in folded.nodes])
    b = answer @ (np.linalg.inv(np.eye(len(n)) - n) - np.eye(len(n)))
    np.testing.assert_allclose(folded.edge_influence(), n * (b + answer)[:, None])

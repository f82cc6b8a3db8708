"""Heads beside a graph: they follow its nodes to new places, and their rows still add up."""

from __future__ import annotations

import numpy as np
import pytest

from cellglass.circuits.graph import Graph
from cellglass.circuits.head_nodes import STREAM, head_name
from cellglass.circuits.pruning import prune
from circuits.graphs import with_heads


@pytest.fixture(scope="module")
def graph() -> Graph:
    return with_heads()


def test_the_strongest_come_first(graph: Graph) -> None:
    effect = graph.heads.table["effect"].abs()
    assert graph.heads.strongest(3) == effect.sort_values(ascending=False).index[:3].tolist()
    assert len(graph.heads.strongest(100)) == len(graph.heads) == 12
    assert head_name(1, 3) == "head L1.3"


def test_nodes_that_are_gone_go_to_the_rest_or_are_left_out(graph: Graph) -> None:
    n = len(graph.nodes)
    rest = int(graph.of_kind("rest")[0])
    gone = graph.of_kind("feature")[:5]
    place = np.arange(n)
    place[gone] = -1
    with_rest, without = graph.heads.moved(place, n, rest), graph.heads.moved(place, n)
    lost = np.asarray(graph.heads.weights[:, gone].sum(1)).ravel()
    sums = [np.asarray(one.weights.sum(1)).ravel() for one in (with_rest, without)]
    np.testing.assert_allclose(sums[0], graph.heads.table["effect"])
    np.testing.assert_allclose(sums[1], graph.heads.table["effect"] - lost)
    for one in (with_rest.parts["target"], with_rest.parts["source"], with_rest.to["target"]):
        assert not set(one) & set(gone)
    assert with_rest.seen is graph.heads.seen


def test_a_part_of_a_graph_has_the_heads_with_the_same_ends(graph: Graph) -> None:
    kept = np.sort(
        np.concatenate([graph.of_kind("feature")[3:], graph.of_kind("token", "error", "bias", "rest", "answer")])
    )
    part = graph.take(kept)
    part.check()
    names = graph.nodes.iloc[kept].reset_index(drop=True)
    assert (part.nodes["feature"] == names["feature"]).all()
    old = graph.heads.parts.set_index(["target", "source", "head"])["weight"]
    for row in part.heads.parts.sample(20, random_state=0).itertuples():
        assert old[kept[row.target], kept[row.source], row.head] == row.weight
    assert len(prune(graph).heads.parts) == len(graph.heads.parts), "edges are those that pruning keeps"
    assert (graph.heads.parts["head"] >= STREAM).all()

"""Groups of features: likeness by a plain loop, planted groups are found, weights are exact sums, names, wrong use."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from cellglass.circuits.graph import Graph
from cellglass.circuits.groups import Group, find_groups, given_groups, group_edges, groups_of, with_groups
from cellglass.circuits.json import read_graph, write_graph
from cellglass.errors import InputError
from circuits.graphs import built, by_hand

LAYERS = [0, 0, 0, 0, 1, 1, 2]


def planted(layers: list[int] = LAYERS) -> Graph:
    """Features 0, 1 read gene A and write to 4; 2, 3 read B and write to 5; 4, 5 and 6 to the answer.

    0 to 6 features; 7 the prompt, 8 and 9 tokens of genes A and B; 10 the answer.
    """
    kind = ["feature"] * 7 + ["token"] * 3 + ["answer"]
    nodes = pd.DataFrame(
        {
            "kind": kind,
            "layer": [*layers, -1, -1, -1, 3],
            "position": [1, 1, 2, 2, 2, 2, 2, 0, 1, 2, 2],
            "feature": [*range(7), -1, -1, -1, -1],
            "value": [1.0] * 7 + [np.nan] * 3 + [2.0],
            "label": [""] * 7 + ["a", " A", " B", "T cell"],
        }
    )
    weights = np.zeros((11, 11))
    weights[[0, 1], 8], weights[[2, 3], 9] = [1, 3], [2, 1]
    weights[[0, 1, 2, 3], 7] = 0.1
    weights[4, [0, 1, 8]], weights[5, [2, 3, 9]] = [4, 5, 0.5], [3, 2, 0.5]
    weights[6, [4, 5]] = 1, -1
    weights[10, [4, 5, 6, 7]] = 2, -3, 1, 1
    return Graph(nodes, sp.csr_matrix(weights), np.ones(1), ["a", " A", " B"], ["", "A", "B"], {"x": 1})


def test_features_wired_alike_are_found_and_named_after_what_they_read() -> None:
    assert find_groups(planted()) == [Group("L0 A", ((0, 0), (0, 1))), Group("L0 B", ((0, 2), (0, 3)))]
    assert find_groups(planted(), alike=1) == []


def test_members_are_at_most_a_span_of_layers_apart() -> None:
    graph = planted([0, 1, 0, 0, 2, 2, 3])
    assert Group("L0 A", ((0, 0), (1, 1))) in find_groups(graph, span=1)
    assert find_groups(graph, span=0) == [Group("L0 B", ((0, 2), (0, 3)))]
    for one in find_groups(graph, alike=0, span=1):
        layers = [layer for layer, _ in one.members]
        assert max(layers) - min(layers) <= 1


def test_likeness_is_the_mean_of_the_cosines_by_hand() -> None:
    """Two features are one group just up to their likeness, which a plain loop gives."""
    graph = by_hand()  # L0/7 and L0/8: what reads them, and what they read
    dense = graph.weights.toarray()

    def cosine(a: np.ndarray, b: np.ndarray) -> float:
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    rows = dense / np.maximum(np.abs(dense).sum(1, keepdims=True), 1e-10)
    both = [cosine(dense[0, :6], dense[1, :6]), cosine(rows[:, 0], rows[:, 1])]
    profiles = pd.DataFrame([[1.0, 0.0], [3.0, 4.0]], index=pd.MultiIndex.from_tuples([(0, 7), (0, 8)]))
    for given, expected in ((None, np.mean(both)), (profiles, np.mean([*both, 0.6]))):
        assert 0 < expected < 1
        for alike, found in ((expected - 1e-6, True), (expected + 1e-6, False)):
            groups = find_groups(graph, alike=alike, span=0, profiles=given)
            assert ([one.members for one in groups] == [((0, 7), (0, 8))]) == found


def test_weights_of_groups_are_sums_of_their_members_and_inner_ones_are_told_apart() -> None:
    graph = planted()
    table = group_edges(graph, [Group("a", ((0, 0), (0, 1), (1, 4))), Group("b", ((0, 2), (0, 3)))])
    found = {(one.source, one.target): (one.weight, one.inner) for one in table.itertuples()}
    assert found == {
        ("A", "a"): (4.5, False), ("prompt", "a"): (pytest.approx(0.2), False), ("a", "a"): (9, True),
        ("a", "L2/6"): (1, False), ("a", "T cell"): (2, False), ("B", "b"): (3, False),
        ("prompt", "b"): (pytest.approx(0.2), False), ("b", "L1/5"): (5, False),
    }  # fmt: skip
    assert table["weight"].abs().is_monotonic_decreasing


def test_positions_are_added_up_first() -> None:
    graph = built(tokens=9)
    pairs = list(dict.fromkeys(zip(*(graph.nodes.iloc[graph.of_kind("feature")][name] for name in ("layer", "feature")),
                                   strict=True)))  # fmt: skip
    groups = given_groups(graph, {"g": pairs[:3]})
    table = group_edges(graph, groups).set_index(["source", "target"])["weight"]
    rows = [i for i in graph.of_kind("feature") if tuple(graph.nodes.iloc[i][["layer", "feature"]]) in pairs[:3]]
    answer = graph.of_kind("answer")[0]
    expected = graph.weights[answer, rows].sum()
    assert table["g", graph.nodes["label"].iloc[answer]] == pytest.approx(expected, abs=1e-6)
    assert all(len(one.members) > 1 for one in find_groups(graph, alike=0.3))


def test_groups_are_kept_with_the_graph(tmp_path) -> None:
    graph = planted()
    groups = given_groups(graph, {"mine": ["L0/1", (0, 0), "L1/4"], "yours": ["L2/6"]})
    assert groups == [Group("mine", ((0, 0), (0, 1), (1, 4))), Group("yours", ((2, 6),))]
    write_graph(with_groups(graph, groups), tmp_path / "g.json")
    again = read_graph(tmp_path / "g.json")
    assert groups_of(again.about) == groups
    assert groups_of(graph.about) == []
    assert again.about["x"] == 1


def test_the_same_name_comes_with_a_number() -> None:
    graph = planted([0, 0, 0, 0, 1, 1, 2])
    graph.genes[2] = "A"
    names = [one.name for one in find_groups(graph, alike=0.9)]
    assert len(names) == len({*names})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"g": ["L9/9"]}, "the graph has no feature L9/9, which group 'g' names; it has: L0/0, L0/1"),
        ({"g": ["CD79A"]}, "'CD79A' is no name of a feature"),
        ({"g": []}, "the group 'g' has no feature"),
        ({"g": ["L0/0"], "h": ["L0/0"]}, "L0/0 is in the groups 'g' and 'h'"),
        ({"L0/3": ["L0/0"]}, "'L0/3' is the name of a feature"),
    ],
)
def test_groups_that_cannot_be_are_one_line(given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        given_groups(planted(), given)


def test_thresholds_that_are_none_are_refused_and_one_feature_is_no_group() -> None:
    with pytest.raises(InputError, match=r"alike is 1.5"):
        find_groups(planted(), alike=1.5)
    with pytest.raises(InputError, match="span is -1"):
        find_groups(planted(), span=-1)
    assert find_groups(planted().bare()) == []

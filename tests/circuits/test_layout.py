"""What is shown and where: limits hold, nothing overlaps, layers stand above one another."""

from __future__ import annotations

import itertools
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from cellglass.circuits.folding import Fold, Folded, fold
from cellglass.circuits.layout import NODE, WIDE, cut, place, shown_edges, shown_name, shown_nodes, text_width
from circuits.graphs import built


@pytest.mark.parametrize(("features", "genes", "answers"), [(40, 12, 1), (5, 2, 3), (1000, 100, 2)])
def test_nodes_do_not_overlap_and_lie_inside(features: int, genes: int, answers: int) -> None:
    folded = fold(built(tokens=10, answers=answers))
    shown = shown_nodes(folded, features, genes)
    boxes, width, bottom, rows = place(folded, shown)
    assert sorted(boxes) == shown
    for a, b in combinations(boxes.values(), 2):
        assert a.x + a.width < b.x or b.x + b.width < a.x or a.y + NODE < b.y or b.y + NODE < a.y
    for box in boxes.values():
        assert box.x > 80
        assert box.x + box.width <= width
        assert box.y + NODE <= bottom
        row = next(name for name, first, last in rows if first <= box.y and box.y + NODE <= last)
        wanted = {"token": "input", "answer": "answer"}.get(box.node.kind, f"layer {box.node.layer}")
        assert row == wanted
    assert [name for name, *_ in rows] == ["answer", "layer 2", "layer 1", "layer 0", "input"]
    assert all(above[2] < below[1] for above, below in zip(rows, rows[1:], strict=False))  # noqa: RUF007


def test_genes_stand_in_their_order_and_features_above_theirs() -> None:
    folded = fold(built(tokens=10))
    boxes, *_ = place(folded, shown_nodes(folded, 1000, 100))
    tokens = [box for box in boxes.values() if box.node.kind == "token"]
    tokens.sort(key=lambda box: box.x)
    assert [box.node.column for box in tokens] == ["CD79A", "MS4A1", "NKG7", '<b> & "c"', "CD3D", "LYZ", "prompt"]
    for i, box in enumerate(tokens):
        above = [one for one in boxes.values() if one.node.kind == "feature" and one.node.column == box.node.column]
        assert above
        end = tokens[i + 1].x if i + 1 < len(tokens) else float("inf")
        start = tokens[i - 1].x + tokens[i - 1].width if i else 0
        assert all(start < one.x and one.x + one.width < end for one in above)


def test_those_of_most_influence_are_shown() -> None:
    folded = fold(built(tokens=10))
    shown = shown_nodes(folded, 3, 100)
    features = [i for i, node in enumerate(folded.nodes) if node.kind == "feature"]
    best = sorted(features, key=lambda i: -folded.influence[i])[:3]
    assert sorted(i for i in shown if folded.nodes[i].kind == "feature") == sorted(best)
    few = shown_nodes(folded, 1000, 2)
    genes = {folded.nodes[i].column for i in few if folded.nodes[i].kind == "token" and folded.nodes[i].is_gene}
    assert len(genes) == 2
    assert {folded.nodes[i].column for i in few if folded.nodes[i].is_gene} == genes


def test_edges_are_those_of_most_influence_and_no_node_stands_alone() -> None:
    folded = fold(built(tokens=10))
    shown = shown_nodes(folded, 20, 4)
    score = folded.edge_influence()
    every = shown_edges(folded, shown, 10**6)
    assert {(b, a) for a, b, _ in every} == {(b, a) for b in shown for a in shown if score[b, a] > 0}
    assert all(weight == folded.weights[b, a] for a, b, weight in every)
    assert [abs(w) for *_, w in every] == sorted(abs(w) for *_, w in every)
    some = shown_edges(folded, shown, 60)
    assert len(some) == 60
    strongest = {(b, int(np.argmax(np.where(np.isin(np.arange(len(score)), shown), score[b], 0)))) for b, *_ in
                 [(b,) for _, b, _ in every]}  # fmt: skip
    assert strongest <= {(b, a) for a, b, _ in some}


def test_texts_are_cut_and_measured() -> None:
    assert cut("a\n b", 5) == "a b"
    assert cut("abcdef", 5) == "abcd…"
    assert text_width("MMM") > text_width("aaa") > text_width("iii") > 0
    assert text_width("aaa", 24) == 2 * text_width("aaa", 12)


def test_long_names_and_many_groups_make_no_picture_that_is_too_wide() -> None:
    long = Fold("feature", 1, "prompt", False, "genes of a gene set with a very long name indeed", (0,), True)
    columns = [Fold("token", -1, f"GENE{i}", True, f"GENE{i}", (i,)) for i in range(6)]
    answer = Fold("answer", 3, "", False, "an answer", (99,))
    many = [replace(long, layer=1 + i % 2, label=f"{long.label} {i}") for i in range(30)]
    above = [replace(long, column=f"GENE{i % 6}", is_gene=True, label=f"L1/{i} {long.label}") for i in range(12)]
    nodes = [*columns, *many, *above, Fold("token", -1, "prompt", False, "prompt", (50,)), answer]
    n = len(nodes)
    folded = Folded(nodes, np.zeros((n, n)), np.ones(n), np.zeros((1, 2)))
    made = place(folded, range(n))
    assert made.width <= WIDE
    for box in made.boxes.values():
        assert box.x >= 0
        assert box.x + box.width <= made.width
        assert box.node.kind == "token" or text_width(box.text) <= box.width
    others = sorted((box.y, box.x, box.width) for box in made.boxes.values())
    for (y, x, width), (below, beside, _) in itertools.pairwise(others):
        assert y != below or x + width <= beside, "boxes do not lie on each other"
    rows = {box.y for box in made.boxes.values() if box.node.layer == 1}
    assert len(rows) > 1, "a layer with many nodes has several rows"
    assert place(folded, range(n), wide=100).width == place(folded, range(n), wide=1).width < made.width


def test_a_name_is_cut_and_says_what_a_feature_fires_on() -> None:
    node = Fold("feature", 1, "prompt", False, "L1/7", (0,), called="fires on CD79A, MS4A1")
    assert shown_name(node, 24) == "L1/7 CD79A, MS4A1"
    assert shown_name(node, 10) == "L1/7 CD79…"
    assert shown_name(replace(node, kind="answer", label="B cell", called=""), 3) == "B cell"

"""What of a folded graph a picture shows, and where it stands: layers upward, genes across, the prompt beside them.

A picture is about as wide as a page, so that its words can be read without a glass: long names are cut, and a layer
with many nodes above one gene has several rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cellglass.circuits.folding import ERRORS, HEADS, Fold, Folded

NODE, EDGE = 22.0, 14.0
"""How high a node is, and the margin."""
WIDE = 1300.0
"""Pixels that a picture is wide at most, where that can be."""
TEXTS, ROWS, DEEP = {24: 0, 18: 60, 13: 180, 10: 400}, (1, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 40), (1, 2, 3)
"""Characters of a name, with the height in pixels that longer ones are worth; rows that a layer has at most; and genes
that stand below one another where no feature stands above them."""
_STEP, _GAP, _LEFT, _TOP, _LEAST = 30, 96, 84, 66.0, 620.0
_LITTLE, _TOKEN = 1.05, 18
_OF_NAMES = ("fires on ", "genes of ")


@dataclass(frozen=True)
class Box:
    """A node, where it stands, in pixels (y is its upper edge), and what stands in it."""

    node: Fold
    x: float
    y: float
    width: float
    text: str


Column = tuple[str, bool]
"""What stands above one another: a name, and whether it is a gene's."""
Cells = dict[Column, dict[int, list[int]]]
"""Nodes by column, from left to right, and layer; that of tokens is -1."""


class Layout(NamedTuple):
    """Boxes by node, the width and the bottom of what is drawn, and rows with name, top and bottom."""

    boxes: dict[int, Box]
    width: float
    bottom: float
    rows: list[tuple[str, float, float]]


def shown_nodes(folded: Folded, features: int, genes: int) -> list[int]:
    """Return the nodes that are drawn: features and genes of most influence, and all else."""
    order = np.argsort(-folded.influence, kind="stable").tolist()
    nodes = folded.nodes
    some = [i for i in order if nodes[i].kind == "feature"][:features]
    above = {nodes[i].column for i in some if nodes[i].is_gene}
    of_genes = [i for i in order if nodes[i].kind == "token" and nodes[i].is_gene]
    of_genes.sort(key=lambda i: nodes[i].column not in above)  # those that features stand above come first
    taken = {nodes[i].column for i in of_genes[:genes]}
    some = [i for i in some if not nodes[i].is_gene or nodes[i].column in taken]
    others = [
        i
        for i in order
        if nodes[i].kind in ("error", "answer", "head") or (nodes[i].kind == "token" and not nodes[i].is_gene)
    ]
    return sorted([*some, *of_genes[:genes], *others])


def shown_edges(folded: Folded, shown: Sequence[int], most: int) -> list[tuple[int, int, float]]:
    """Return source, target and weight of the edges that are drawn, the thin ones first.

    The strongest into and out of each node are drawn before others, so that none stands alone.
    """
    score = np.zeros_like(folded.weights)
    here = np.ix_(shown, shown)
    score[here] = folded.edge_influence()[here]
    first = (score == score.max(axis=0, keepdims=True)) | (score == score.max(axis=1, keepdims=True))
    target, source = np.nonzero(score)
    order = np.lexsort((-score[target, source], ~first[target, source]))[:most]
    found = [(int(source[i]), int(target[i]), float(folded.weights[target[i], source[i]])) for i in order]
    return sorted(found, key=lambda edge: (abs(edge[2]), edge[:2]))


def text_width(text: str, size: float = 12) -> float:
    """Return about how wide a text is."""
    return size * sum(
        1.0
        if ord(c) > 0x2E80
        else 0.3
        if c in "iljtf.,:;|!'()[] /"
        else 0.85
        if c in "MWmw@%"
        else 0.7
        if c.isupper()
        else 0.57
        for c in text
    )


def cut(text: str, most: int) -> str:
    """Return a text in one line, with … where it is longer than `most`."""
    text = " ".join(text.split())
    return text if len(text) <= most else f"{text[: most - 1]}…"


def shown_name(node: Fold, most: int) -> str:
    """Return what stands in a node: its label, of a feature with what a machine calls it, no longer than `most`."""
    if node.kind == "answer":
        return cut(node.label, 60)
    if node.kind == "token":
        return cut(node.label, max(most, _TOKEN))
    called = node.called if node.kind == "feature" else ""
    for word in _OF_NAMES:
        called = called.removeprefix(word)
    return cut(f"{node.label} {called}" if called else node.label, most)


def place(folded: Folded, shown: Sequence[int], wide: float = WIDE) -> Layout:
    """Return where the nodes that are shown stand, no wider than `wide`, or little wider than it has to be.

    Of what is not too wide, the lowest is taken; long names are worth some height.
    """
    made = [
        (_placed(folded, shown, text, rows, deep), worth)
        for text, worth in TEXTS.items()
        for deep in DEEP
        for rows in ROWS
    ]
    most = max(wide, _LITTLE * min(one.width for one, _ in made))
    return min(((one, one.bottom + worth) for one, worth in made if one.width <= most), key=lambda pair: pair[1])[0]


class _Span(NamedTuple):
    """Where a column begins, how wide it is, how wide one node in it is, and how many stand side by side."""

    x: float
    width: float
    each: float
    across: int


def _placed(folded: Folded, shown: Sequence[int], text: int, rows: int, deep: int) -> Layout:
    """Return where nodes stand with names of so many characters, in so many rows, with `deep` genes in a column."""
    nodes = folded.nodes
    names = {i: shown_name(nodes[i], text) for i in shown}
    cells = _cells(folded, shown, deep)
    spans, right = _spans(folded, cells, names, rows)
    answers = [i for i in shown if nodes[i].kind == "answer"]
    widths = [text_width(names[i], 13) + 22 for i in answers]
    width = max(right + EDGE, sum(widths) + 12 * len(answers) + _LEFT, _LEAST)
    boxes: dict[int, Box] = {}
    at = _LEFT + (width - _LEFT - sum(widths) - 12 * (len(answers) - 1)) / 2
    for i, own in zip(answers, widths, strict=True):
        boxes[i] = Box(nodes[i], at, _TOP, own, names[i])
        at += own + 12
    bands, y = [("answer", _TOP, _TOP + _STEP)], _TOP + _STEP + _GAP
    for layer in sorted({layer for inside in cells.values() for layer in inside}, reverse=True):
        here = {column: inside[layer] for column, inside in cells.items() if layer in inside}
        beside = {column: spans[column].across if layer >= 0 else 1 for column in here}  # tokens: below one another
        high = max(-(-len(some) // beside[column]) for column, some in here.items())
        for column, some in here.items():
            span = spans[column]._replace(across=beside[column])
            boxes |= _cell(folded, some, names, span, y + (high - 1) * _STEP)
        bands.append((f"layer {layer}" if layer >= 0 else "input", y, y + high * _STEP))
        y += high * _STEP + _GAP
    return Layout(boxes, width, y - _GAP, bands)


def _cells(folded: Folded, shown: Sequence[int], deep: int) -> Cells:
    """Return what stands where; of genes that no feature stands above, `deep` after one another share a column."""
    nodes = folded.nodes
    above = {(nodes[i].column, nodes[i].is_gene) for i in shown if nodes[i].kind != "token"}
    home: dict[Column, Column] = {}
    run: list[Column] = []
    found: Cells = {}
    for column in _columns(folded, shown):
        run = [] if column in above or not column[1] else [*run, column]
        home[column] = run[(len(run) - 1) // deep * deep] if run else column
        found.setdefault(home[column], {})
    for i in shown:
        if nodes[i].kind != "answer":
            inside = found[home[nodes[i].column, nodes[i].is_gene]]
            inside.setdefault(nodes[i].layer, []).append(i)
    return found


def _spans(folded: Folded, cells: Cells, names: dict[int, str], rows: int) -> tuple[dict[Column, _Span], float]:
    """Return where each column stands, and where the last one ends."""
    found, x = {}, float(_LEFT)
    for column, inside in cells.items():
        tokens, others = (
            [i for some in inside.values() for i in some if (folded.nodes[i].kind == "token") == is_token]
            for is_token in (True, False)
        )
        deepest = max((len(some) for layer, some in inside.items() if layer >= 0), default=0)
        across = max(1, -(-deepest // rows))
        each = max([text_width(names[i]) + 14 for i in others], default=0.0)
        width = max([across * (each + 6) - 6, *(text_width(names[i]) + 14 for i in tokens)])
        found[column] = _Span(x, width, each, across)
        x += width + EDGE
    return found, x - EDGE


def _cell(folded: Folded, some: Sequence[int], names: dict[int, str], span: _Span, y: float) -> dict[int, Box]:
    """Return the boxes of one layer in one column; the lowest row stands at `y`."""
    found = {}
    for k, i in enumerate(some):
        row, along = divmod(k, span.across)
        number = min(len(some) - row * span.across, span.across)
        each = span.width if folded.nodes[i].kind == "token" else span.each
        first = span.x + (span.width - number * (each + 6) + 6) / 2
        found[i] = Box(folded.nodes[i], first + along * (each + 6), y - row * _STEP, each, names[i])
    return found


def _columns(folded: Folded, shown: Sequence[int]) -> list[Column]:
    """Return genes in their order, then the prompt, errors, and heads."""
    nodes = folded.nodes
    genes = [(nodes[i].members[0], nodes[i].column) for i in shown if nodes[i].kind == "token" and nodes[i].is_gene]
    others = sorted(
        {nodes[i].column for i in shown if not nodes[i].is_gene and nodes[i].column},
        key=lambda column: (ERRORS, HEADS).index(column) if column in (ERRORS, HEADS) else -1,
    )
    return [*((column, True) for _, column in sorted(genes)), *((column, False) for column in others)]

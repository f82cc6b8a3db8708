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
WIDE = 1180.0
"""Pixels that a picture is wide at most, where that can be."""
TEXTS, ACROSS = (24, 18, 13, 10), (8, 6, 5, 4, 3, 2, 1)
"""Characters of a name, and nodes side by side above one gene: the most with which a picture is not too wide."""
_STEP, _GAP, _LEFT, _TOP, _LEAST = 30, 96, 84, 66.0, 620.0
_OF_NAMES = ("fires on ", "genes of ")


@dataclass(frozen=True)
class Box:
    """A node, where it stands, in pixels (y is its upper edge), and what stands in it."""

    node: Fold
    x: float
    y: float
    width: float
    text: str


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
    called = node.called if node.kind == "feature" else ""
    for word in _OF_NAMES:
        called = called.removeprefix(word)
    return cut(f"{node.label} {called}" if called else node.label, most)


def place(folded: Folded, shown: Sequence[int], wide: float = WIDE) -> Layout:
    """Return where the nodes that are shown stand, no wider than `wide` where that can be."""
    found: list[Layout] = []
    for text in TEXTS:
        for across in ACROSS:
            found.append(_placed(folded, shown, text, across))
            if found[-1].width <= wide:
                return found[-1]
    return min(found, key=lambda one: one.width)


def _placed(folded: Folded, shown: Sequence[int], text: int, across: int) -> Layout:
    nodes = folded.nodes
    names = {i: shown_name(nodes[i], text) for i in shown}
    cells: dict[tuple[str, bool, int], list[int]] = {}
    for i in shown:
        if nodes[i].kind != "answer":
            cells.setdefault((nodes[i].column, nodes[i].is_gene, nodes[i].layer), []).append(i)
    wide = max([text_width(names[i]) + 14 for i in shown if nodes[i].kind not in ("token", "answer")], default=50)
    left, right = _spans(folded, _columns(folded, shown), cells, names, wide, across)
    answers = [i for i in shown if nodes[i].kind == "answer"]
    widths = [text_width(names[i], 13) + 22 for i in answers]
    width = max(right + EDGE, sum(widths) + 12 * len(answers) + _LEFT, _LEAST)
    boxes: dict[int, Box] = {}
    at = _LEFT + (width - _LEFT - sum(widths) - 12 * (len(answers) - 1)) / 2
    for i, each in zip(answers, widths, strict=True):
        boxes[i] = Box(nodes[i], at, _TOP, each, names[i])
        at += each + 12
    rows, y = [("answer", _TOP, _TOP + _STEP)], _TOP + _STEP + _GAP
    for layer in sorted({key[2] for key in cells}, reverse=True):
        here = {key[:2]: some for key, some in cells.items() if key[2] == layer}
        deep = max(-(-len(some) // across) for some in here.values())
        for column, some in here.items():
            boxes |= _cell(folded, some, names, left[column], wide, across, y + (deep - 1) * _STEP)
        rows.append((f"layer {layer}" if layer >= 0 else "input", y, y + deep * _STEP))
        y += deep * _STEP + _GAP
    return Layout(boxes, width, y - _GAP, rows)


def _spans(
    folded: Folded, columns: Sequence[tuple[str, bool]], cells: dict[tuple[str, bool, int], list[int]],
    names: dict[int, str], wide: float, most: int,
) -> tuple[dict[tuple[str, bool], tuple[float, float]], float]:  # fmt: skip
    """Return where each column begins and how wide it is, and where the last one ends."""
    found, x = {}, float(_LEFT)
    for column in columns:
        inside = [some for key, some in cells.items() if key[:2] == column]
        across = max([min(len(some), most) for some in inside if folded.nodes[some[0]].kind != "token"], default=0)
        name = max(text_width(names[some[0]]) + 14 for some in inside)
        width = max(across * (wide + 6) - 6, name)
        found[column] = (x, width)
        x += width + EDGE
    return found, x - EDGE


def _cell(
    folded: Folded, some: Sequence[int], names: dict[int, str], span: tuple[float, float], wide: float, across: int,
    y: float,
) -> dict[int, Box]:  # fmt: skip
    """Return the boxes of one layer in one column; the lowest row stands at `y`."""
    start, width = span
    found = {}
    for k, i in enumerate(some):
        row, along = divmod(k, across)
        number = min(len(some) - row * across, across)
        each = width if folded.nodes[i].kind == "token" else wide
        first = start + (width - number * (each + 6) + 6) / 2
        found[i] = Box(folded.nodes[i], first + along * (each + 6), y - row * _STEP, each, names[i])
    return found


def _columns(folded: Folded, shown: Sequence[int]) -> list[tuple[str, bool]]:
    """Return genes in their order, then the prompt, errors, and heads."""
    nodes = folded.nodes
    genes = [(nodes[i].members[0], nodes[i].column) for i in shown if nodes[i].kind == "token" and nodes[i].is_gene]
    others = sorted(
        {nodes[i].column for i in shown if not nodes[i].is_gene and nodes[i].column},
        key=lambda column: (ERRORS, HEADS).index(column) if column in (ERRORS, HEADS) else -1,
    )
    return [*((column, True) for _, column in sorted(genes)), *((column, False) for column in others)]

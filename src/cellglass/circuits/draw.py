"""A picture of a circuit, for paper or page: layers upward, genes across, width = weight, colour = sign. Plain SVG.

Genes stand at the bottom in the order in which the model reads them, the prompt beside them, answers on top. A feature
stands above the gene at whose token it is active. Weights into answers and into features have other units, and so each
their own scale. Only so many features, genes and edges are drawn as can be read, those of most influence; the foot says
how many there are, and what biases and what was left out add.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np

from cellglass.circuits.folding import Fold, Folded, fold, with_heads
from cellglass.circuits.graph import Graph
from cellglass.circuits.layout import EDGE, NODE, Box, Layout, cut, place, shown_edges, shown_nodes, text_width
from cellglass.errors import InputError
from cellglass.files import atomic_path

FEATURES, GENES, EDGES, MOST_HEADS = 40, 12, 150, 6
_UP, _DOWN, _INK, _PALE = "#d55e00", "#0072b2", "#222222", "#666666"
_THINNEST, _WIDEST = 0.7, 7.0


def draw_graph(
    graph: Graph,
    path: Path | str | None = None,
    *,
    features: int = FEATURES,
    genes: int = GENES,
    edges: int = EDGES,
    heads: int = MOST_HEADS,
) -> str:
    """Return a picture of a graph as SVG, and write it if `path` is given.

    Parameters
    ----------
    graph
        Best one that is pruned.
    path
        Of the file.
    features, genes, edges
        Draw at most as many, after folding.
    heads
        Attention heads that are drawn, those of largest effect; 0 for none.

    Raises
    ------
    InputError
        Limits below 1, or a graph without answers.
    """
    for name, number in (("features", features), ("genes", genes), ("edges", edges)):
        if number < 1:
            raise InputError(f"{name} is {number}; draw at least 1")
    if not len(graph.of_kind("answer")):
        raise InputError("the graph has no answer, so there is nothing to draw; trace a cell anew")
    folded = fold(graph)
    shown = shown_nodes(folded, features, genes)
    lines = shown_edges(folded, shown, edges)
    there = len(folded.nodes)
    folded, fed = with_heads(graph, folded, heads)
    lines += [line for line in fed if line[1] in set(shown)]
    shown += range(there, len(folded.nodes))
    text = _svg(graph, folded, place(folded, shown), lines)
    if path is not None:
        with atomic_path(path) as temporary:
            temporary.write_bytes(text.encode("utf-8", "replace"))
    return text


def _svg(graph: Graph, folded: Folded, layout: Layout, lines: Sequence[tuple[int, int, float]]) -> str:
    boxes, width, bottom, rows = layout
    largest = {
        is_answer: max((abs(w) for _, b, w in lines if (folded.nodes[b].kind == "answer") == is_answer), default=0.0)
        for is_answer in (True, False)
    }
    title, below = _titles(graph)
    foot = textwrap.wrap(_foot(graph, folded, boxes, lines), int((width - 2 * EDGE) / 5.9))
    legend = bottom + 34
    height = legend + 34 + 15 * len(foot) + 8
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" role="img" font-family="Helvetica, Arial, sans-serif" '
        f'font-size="12" fill="{_INK}">',
        f"<title>{_text(title)}</title>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        f'<text x="{EDGE}" y="25" font-size="16" font-weight="bold">{_text(cut(title, int(width / 9)))}</text>',
        f'<text x="{EDGE}" y="44" fill="{_PALE}">{_text(cut(below, int(width / 6.5)))}</text>',
    ]
    for name, first, last in rows:
        parts.append(
            f'<rect x="0" y="{first - 9:.1f}" width="{width:.0f}" height="{last - first + 12:.1f}" fill="#f4f4f4"/>'
        )
        parts.append(f'<text x="{EDGE}" y="{(first + last) / 2 + 1:.1f}" fill="{_PALE}">{name}</text>')
    parts.append('<g fill="none" stroke-linecap="round">')
    parts += [_curve(boxes[a], boxes[b], w, largest[folded.nodes[b].kind == "answer"], width) for a, b, w in lines]
    parts.append("</g>")
    parts += [_box(box, merged=graph.is_merged) for _, box in sorted(boxes.items())]
    parts += _legend(legend, largest)
    parts += [
        f'<text x="{EDGE}" y="{legend + 34 + 15 * i:.1f}" font-size="11" fill="{_PALE}">{_text(line)}</text>'
        for i, line in enumerate(foot)
    ]
    return "\n".join([*parts, "</svg>\n"])


def _curve(a: Box, b: Box, weight: float, largest: float, across: float) -> str:
    x1, x2 = _port(a, b, across), _port(b, a, across)
    y1, y2 = (a.y, b.y + NODE) if a.y > b.y else (a.y + NODE, b.y)  # a head feeds its own layer's row too
    half = (y1 - y2) / 2
    said = _text(f"{a.node.label} to {b.node.label}: {_number(weight)}")
    return (
        f'<path d="M{x1:.1f} {y1:.1f}C{x1:.1f} {y1 - half:.1f} {x2:.1f} {y2 + half:.1f} {x2:.1f} {y2:.1f}" '
        f'stroke="{_UP if weight > 0 else _DOWN}" stroke-width="{_thick(weight, largest):.2f}" stroke-opacity="0.6">'
        f"<title>{said}</title></path>"
    )


def _port(box: Box, other: Box, across: float) -> float:
    """Return where an edge meets a box: its middle, or of a wide one nearer to the other end."""
    free, middle = max(0.0, box.width / 2 - 12), box.x + box.width / 2
    away = other.x + other.width / 2 - middle
    if box.node.kind == "token":
        return middle + min(max(away, -free), free)
    return middle + free * min(max(2 * away / across, -1), 1)


def _thick(weight: float, largest: float) -> float:
    return _THINNEST + (_WIDEST - _THINNEST) * abs(weight) / largest


def _box(box: Box, *, merged: bool) -> str:
    node = box.node
    fill, line, style = {
        "feature": ("#ffffff", _INK, ""),
        "token": ("#e8efe3" if node.is_gene else "#e6e6e6", "#5b7048" if node.is_gene else _PALE, ""),
        "error": ("#ffffff", _PALE, ' stroke-dasharray="3 2"'),
        "answer": ("#fff6d6", _INK, ""),
        "head": ("#e6e6e6", _PALE, ""),
    }[node.kind]
    face = ' font-weight="bold" font-size="13"' if node.kind == "answer" else ""
    if node.kind == "token" and node.is_gene:
        face = ' font-style="italic"'
    return (
        f"<g><title>{_text(_told(node, merged=merged))}</title>"
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{box.width:.1f}" '
        f'height="{NODE:.0f}" rx="{NODE / 2 if node.kind == "head" else 4:.0f}" fill="{fill}" stroke="{line}"{style}/>'
        f'<text x="{box.x + box.width / 2:.1f}" y="{box.y + 15:.1f}" text-anchor="middle"{face}>{_text(box.text)}'
        "</text></g>"
    )


def _told(node: Fold, *, merged: bool) -> str:
    if node.kind == "feature":
        where = node.column if node.is_gene else "the prompt"
        what = "group of features, the most influential one" if node.is_group else "feature"
        called = f" {node.called} (named by machine)," if node.called else ""
        return f"{node.label}:{called} {what} of layer {node.layer}, {'most ' * merged}active at {where}"
    return f"{node.label}: {node.called}" if node.called else node.label


def _legend(y: float, largest: dict[bool, float]) -> list[str]:
    parts, x = [], float(EDGE)

    def line(colour: str, size: float, word: str, opacity: float) -> None:
        nonlocal x
        parts.append(
            f'<line x1="{x:.1f}" y1="{y:.1f}" x2="{x + 28:.1f}" y2="{y:.1f}" stroke="{colour}" '
            f'stroke-width="{size:.2f}" stroke-opacity="{opacity}"/>'
            f'<text x="{x + 33:.1f}" y="{y + 4:.1f}">{word}</text>'
        )
        x += 33 + text_width(word) + 14

    line(_UP, 4, "raises its target", 0.6)
    line(_DOWN, 4, "lowers it", 0.6)
    for is_answer, word in ((True, "weight, into answers:"), (False, "into features:")):
        if largest[is_answer]:
            parts.append(f'<text x="{x + 10:.1f}" y="{y + 4:.1f}">{word}</text>')
            x += 10 + text_width(word) + 8
            for part in (1.0, 0.2):
                weight = part * largest[is_answer]
                line(_PALE, _thick(weight, largest[is_answer]), _number(weight).lstrip("+"), 1)
    return parts


def _titles(graph: Graph) -> tuple[str, str]:
    about = graph.about
    labels = [str(label) for label in graph.nodes["label"].iloc[graph.of_kind("answer")]]
    title = str(about.get("title") or ", ".join(labels))
    said = [f"{name} {about[name]}" for name in ("model", "cell") if isinstance(about.get(name), str | int)]
    values = [
        f"{label} = {_number(value)}"
        for label, value in zip(labels, graph.nodes["value"].iloc[graph.of_kind("answer")], strict=True)
    ]
    return title, " · ".join([*said, *values])


def _foot(graph: Graph, folded: Folded, boxes: dict[int, Box], lines: Sequence[tuple[int, int, float]]) -> str:
    pruning = graph.about.get("pruning")
    held = len(graph.of_kind("feature"))
    whole = f" ({pruning['features']} before pruning)" if isinstance(pruning, dict) and "features" in pruning else ""
    shown = sum(len(box.node.members) for box in boxes.values() if box.node.kind == "feature")
    genes = [
        sum(node.is_gene and node.kind == "token" for node in some)
        for some in ((b.node for b in boxes.values()), folded.nodes)
    ]
    answers = [node for node in folded.nodes if node.kind == "answer"]
    of_nodes = sum(folded.nodes[source].kind != "head" for source, *_ in lines)
    heads = (
        " Heads, the strongest, are another way to take the answer apart: what they feed is in the other edges too."
        if of_nodes < len(lines)
        else ""
    )
    told = "; ".join(
        f"biases add {_number(bias)} to {cut(node.label, 60)}, what was left out {_number(rest)}"
        for node, (bias, rest) in zip(answers, folded.constants.tolist(), strict=True)
    )
    tokens = (
        "Weights are means over cells, added up over tokens; a feature stands above the gene at which it is most active"
        if graph.is_merged
        else "Weights of a gene's tokens are added up, of prompt tokens and of a layer's errors too; ×n is a feature "
        "at n tokens"
    )
    return (
        f"Drawn: {shown} of {held} features{whole}, {genes[0]} of {genes[1]} genes, {of_nodes} of "
        f"{np.count_nonzero(folded.weights)} edges, those of most influence. {tokens}.{heads} Not drawn: {told}."
    )


def _number(value: float) -> str:
    return f"{value:+.2g}".replace("-", "−").replace("e−0", "e−").replace("e+0", "e+")


def _text(text: str) -> str:
    """Return a text as XML has it: escaped, and without what XML cannot hold."""
    return escape("".join(c if c.isprintable() else "\ufffd" if c not in " \t\r\n" else " " for c in text))

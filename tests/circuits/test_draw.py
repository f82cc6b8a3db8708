"""The picture: well-formed, each edge as wide and of the colour that its weight says, texts escaped, limits told."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from cellglass.circuits.draw import draw_graph
from cellglass.circuits.folding import fold
from cellglass.circuits.pruning import prune
from cellglass.errors import InputError
from circuits.graphs import built, by_hand

SVG = "{http://www.w3.org/2000/svg}"


def drawn(text: str) -> tuple[dict[str, tuple[float, str]], list[str], str]:
    """Return edges with width and colour, the nodes' labels, and all text."""
    root = ET.fromstring(text)  # noqa: S314  our own
    edges = {
        str(path.findtext(f"{SVG}title")): (float(path.attrib["stroke-width"]), path.attrib["stroke"])
        for path in root.iter(f"{SVG}path")
    }
    labels = [
        str(group.findtext(f"{SVG}text")) for group in root.iter(f"{SVG}g") if group.find(f"{SVG}rect") is not None
    ]
    return edges, labels, "\n".join(str(one.text) for one in root.iter(f"{SVG}text"))


def test_every_edge_is_as_wide_as_its_weight_and_has_the_colour_of_its_sign() -> None:
    graph = by_hand()
    folded = fold(graph)
    edges, labels, _ = drawn(draw_graph(graph))
    assert sorted(labels) == ["B cell", "CD79A", "L0/7", "L0/8", "L1/9", "error L0", "prompt: 1 token"]
    widths: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
    count = 0
    for i, target in enumerate(folded.nodes):
        for j, source in enumerate(folded.nodes):
            weight = folded.weights[i, j]
            if weight:
                said = f"{weight:+.2g}".replace("-", "−")
                width, colour = edges[f"{source.label} to {target.label}: {said}"]
                widths[target.kind == "answer"].append((abs(weight), width))
                assert colour == ("#d55e00" if weight > 0 else "#0072b2")
                count += 1
    assert count == len(edges)
    for pairs in widths.values():
        largest = max(pairs)
        assert largest[1] == 7
        for weight, width in pairs:
            assert width == pytest.approx(0.7 + 6.3 * weight / largest[0], abs=0.01)


def test_limits_hold_and_are_told() -> None:
    graph = built(tokens=10)
    pruned = prune(graph, 0.95, 0.99)
    edges, labels, said = drawn(draw_graph(pruned, features=6, genes=3, edges=20))
    heads = {edge for edge in edges if edge.startswith("head ")}
    assert len(edges) - len(heads) == 20
    assert 0 < len({edge.partition(" to ")[0] for edge in heads}) <= 6
    assert sum(label.startswith("L") and "/" in label for label in labels) <= 6
    held = len(pruned.of_kind("feature"))
    foot = " ".join(said.split())
    found = re.search(r"Drawn: (\d+) of (\d+) features \((\d+) before pruning\), 3 of 6 genes, 20 of (\d+) edges", foot)
    assert found is not None
    assert int(found[1]) < int(found[2]) == held < int(found[3]) == len(graph.of_kind("feature"))
    rest = pruned.weights[pruned.of_kind("answer")[0], pruned.of_kind("rest")[0]]
    assert f"what was left out {rest:+.2g}.".replace("-", "−") in foot


def test_texts_from_files_are_text() -> None:
    about = {"title": "<script>alert(1)</script>\x00", "cell": "\ud800 & co", "model": ["no text"]}
    text = draw_graph(replace(built(tokens=9), about=about))
    assert "<script" not in text
    text.encode("utf-8")
    _, labels, said = drawn(text)
    assert '<b> & "c"' in labels
    assert said.startswith("<script>alert(1)</script>\ufffd\ncell \ufffd & co · B cell against T cell = ")


def test_the_same_graph_gives_the_same_bytes_and_a_file(tmp_path: Path) -> None:
    text = draw_graph(built(tokens=6, answers=2), tmp_path / "a" / "g.svg")
    assert (tmp_path / "a" / "g.svg").read_bytes() == text.encode()
    assert draw_graph(built(tokens=6, answers=2)) == text
    assert drawn(text)[2].startswith("B cell against T cell, NK cell\nmodel cell2sentence · cell cell <1> & co · ")


def test_a_graph_without_features_is_drawn() -> None:
    edges, labels, said = drawn(draw_graph(by_hand().bare()))
    assert sorted(labels) == ["B cell", "CD79A", "error L0", "prompt: 1 token"]
    assert len(edges) == 3
    assert "into features" not in said


def test_wrong_limits_and_graphs_are_refused() -> None:
    with pytest.raises(InputError, match="features is 0; draw at least 1"):
        draw_graph(by_hand(), features=0)
    graph = by_hand()
    with pytest.raises(InputError, match="the graph has no answer"):
        draw_graph(graph.take(graph.of_kind("feature", "token")))

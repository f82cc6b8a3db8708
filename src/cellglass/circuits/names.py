"""What nodes are called in words and pictures: ``L2/153`` is feature 153 of layer 2, and tokens are called by gene."""

from __future__ import annotations

from collections import Counter

from cellglass.circuits.graph import Graph


def feature_name(layer: int, feature: int) -> str:
    """Return what a feature is called."""
    return f"L{layer}/{feature}"


def token_names(graph: Graph) -> list[str]:
    """Return what each token is called, no two alike: its gene where it is its only token, else its text and place."""
    first = [gene or text.strip() or repr(text) for text, gene in zip(graph.tokens, graph.genes, strict=True)]
    times = Counter(first)
    return [
        name if times[name] == 1 else f"{text.strip() or name} (token {place + 1})"
        for place, (name, text) in enumerate(zip(first, graph.tokens, strict=True))
    ]


def source_groups(graph: Graph) -> dict[str, list[int]]:
    """Return the tokens' nodes that are one source: all of a gene together, each other token by itself."""
    groups: dict[str, list[int]] = {}
    names = token_names(graph)
    for node in graph.of_kind("token").tolist():
        place = int(graph.nodes["position"].iloc[node])
        groups.setdefault(graph.genes[place] or names[place], []).append(node)
    return groups

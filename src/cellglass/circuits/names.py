"""What nodes and files of graphs are called: ``L2/153`` is feature 153 of layer 2, and tokens are called by gene."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from cellglass.circuits.graph import Graph
from cellglass.errors import InputError

PROMPT = "prompt"
"""What all tokens that are of no gene are called together."""
OTHER = "other genes"
"""What genes that a class circuit has no node for are called together."""
_FEATURE = re.compile(r"L(\d+)/(\d+)")


def feature_name(layer: int, feature: int) -> str:
    """Return what a feature is called."""
    return f"L{layer}/{feature}"


def is_feature_name(name: str) -> bool:
    """Say whether a name is that of a feature."""
    return _FEATURE.fullmatch(name.strip()) is not None


def feature_of(name: str) -> tuple[int, int]:
    """Return layer and number of a feature by its name; InputError for what is none."""
    found = _FEATURE.fullmatch(name.strip())
    if found is None:
        raise InputError(f"{name!r} is no name of a feature; write its layer and number, such as L2/153")
    return int(found[1]), int(found[2])


def file_word(text: str, most: int = 100) -> str:
    """Return a text as part of a file's name on any system: letters, digits, ``-`` and ``_`` of ASCII."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:most].strip("-") or "cell"


def file_name(about: Mapping[str, Any]) -> str:
    """Return what the file of a traced graph is called, without an ending, by what was asked of which cell.

    The same question has the same name; the digits at its end tell apart what letters alone do not.
    """
    asked = [str(about.get(name) or "") for name in ("cell", "target", "against")]
    linear = about.get("patterns") == "linear"
    words = [file_word(asked[0], 40), file_word(asked[1], 40)]
    words += [file_word(asked[2], 40)] if asked[2] else []
    words += ["linear"] if linear else []
    return "_".join([*words, hashlib.sha256("\n".join(asked).encode()).hexdigest()[:8]])


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

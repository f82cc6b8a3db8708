"""Imports run only downward: from cells to the command line, no folder knows of one that comes after it."""

from __future__ import annotations

import ast
from pathlib import Path

import cellglass

PACKAGE = Path(cellglass.__file__).parent
LAYERS = (
    "cells", "models", "activations", "dictionaries", "attribution", "enrichment", "evaluation", "atlas", "explorer",
    "pipeline",
)  # fmt: skip
LEAVES = {"_version", "compiled", "errors", "files", "lazy", "progress", "registry", "seeds", "threads", "vocabulary"}


def _imported(file: Path) -> set[str]:
    """Return the parts of cellglass that a file imports, inside functions and for type checking too."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "cellglass":
            parts = node.module.split(".")[1:]
            found |= {parts[0]} if parts else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("cellglass.")}
    return found


def test_no_folder_imports_one_that_comes_after_it() -> None:
    checked = 0
    for place, layer in enumerate(LAYERS):
        for file in (PACKAGE / layer).rglob("*.py"):
            upward = _imported(file) - LEAVES - set(LAYERS[: place + 1]) - {"__version__"}
            assert not upward, f"{file.relative_to(PACKAGE)} imports {sorted(upward)}"
            checked += 1
    assert checked > 90


def test_leaves_import_leaves_alone() -> None:
    for leaf in LEAVES:
        assert _imported(PACKAGE / f"{leaf}.py") <= LEAVES

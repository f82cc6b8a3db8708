"""Imports run only downward: from cells to the command line, no folder knows of one that comes after it.

Inside of a folder the rooms have directions too. Imports inside of functions and for type checking count.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import cellglass

PACKAGE = Path(cellglass.__file__).parent
LAYERS = (
    "cells", "models", "activations", "dictionaries", "attribution", "enrichment", "evaluation", "atlas", "explorer",
    "pipeline", "cli",
)  # fmt: skip
LEAVES = {"_version", "compiled", "errors", "files", "lazy", "progress", "registry", "seeds", "threads", "vocabulary"}

CLOSED = {
    # a room, or a file: what it knows nothing of
    "explorer.data": ("explorer.http", "explorer.notes", "explorer.review", "explorer.app", "explorer.export"),
    "explorer.http": ("explorer.data", "explorer.notes", "explorer.review", "explorer.app", "explorer.export"),
    "explorer.notes": ("explorer.data", "explorer.review", "explorer.app", "explorer.export"),
    "explorer.review": ("explorer.app", "explorer.export"),
    "models.scvi": ("models.scgpt", "models.geneformer", "models.cell2sentence", "models.transformer"),
    "models.scgpt": ("models.scvi", "models.geneformer", "models.cell2sentence"),
    "models.geneformer": ("models.scvi", "models.scgpt", "models.cell2sentence"),
    "models.cell2sentence": ("models.scvi", "models.scgpt", "models.geneformer"),
    "models.transformer": ("models.scvi", "models.scgpt", "models.geneformer", "models.cell2sentence"),
    "dictionaries.sparse_ops": (
        *("dictionaries.files", "dictionaries.sparse", "dictionaries.kinds", "dictionaries.baselines"),
        *("dictionaries.training", "dictionaries.registry", "dictionaries.exchange"),
    ),
    "dictionaries.base": (
        *("dictionaries.sparse", "dictionaries.kinds", "dictionaries.baselines", "dictionaries.training"),
        *("dictionaries.registry", "dictionaries.exchange"),
    ),
    "dictionaries.files": (
        *("dictionaries.sparse", "dictionaries.kinds", "dictionaries.baselines", "dictionaries.training"),
        *("dictionaries.registry", "dictionaries.exchange"),
    ),
    "dictionaries.sparse": (
        *("dictionaries.kinds", "dictionaries.baselines", "dictionaries.training", "dictionaries.registry"),
        *("dictionaries.exchange",),
    ),
    "dictionaries.kinds": ("dictionaries.baselines", "dictionaries.registry", "dictionaries.exchange"),
    "dictionaries.baselines": ("dictionaries.kinds", "dictionaries.registry", "dictionaries.exchange"),
    "dictionaries.training": ("dictionaries.kinds", "dictionaries.registry", "dictionaries.exchange"),
    "atlas.schema": ("atlas",),
    "atlas.checks": ("atlas.tables", "atlas.columns", "atlas.manifest", "atlas.read", "atlas.write"),
    "atlas.tables": ("atlas.manifest", "atlas.read", "atlas.write"),
    "atlas.columns": ("atlas.manifest", "atlas.read", "atlas.write"),
    "atlas.manifest": ("atlas.read", "atlas.write", "atlas.tables"),
    "atlas.read": ("atlas.write", "atlas.comparison", "atlas.markers", "atlas.summary"),
    "atlas.write": ("atlas.read", "atlas.comparison", "atlas.markers", "atlas.summary"),
    "atlas.comparison": ("atlas.write", "atlas.markers", "atlas.summary"),
    "atlas.markers": ("atlas.write", "atlas.comparison", "atlas.summary"),
}
OPEN_STILL = {
    ("dictionaries.sparse_ops.losses", "dictionaries.sparse"),
    ("dictionaries.training.defaults", "dictionaries.kinds"),
}
"""What is to be mended: a loss that is told of by the dictionary's base, and defaults that name kinds."""


def _imported(file: Path) -> set[str]:
    """Return the modules of cellglass, and what is taken from them, that a file imports: ``atlas.read.Atlas``."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "cellglass":
            found |= {f"{node.module}.{alias.name}".partition(".")[2] for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[2] for alias in node.names if alias.name.startswith("cellglass.")}
    return found


def _name(file: Path) -> str:
    return ".".join(file.relative_to(PACKAGE).with_suffix("").parts)


def _within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def test_no_folder_imports_one_that_comes_after_it() -> None:
    checked = 0
    for place, layer in enumerate(LAYERS):
        for file in (PACKAGE / layer).rglob("*.py"):
            parts = {name.split(".")[0] for name in _imported(file)}
            upward = parts - LEAVES - set(LAYERS[: place + 1]) - {"__version__"}
            assert not upward, f"{file.relative_to(PACKAGE)} imports {sorted(upward)}"
            checked += 1
    assert checked > 90


def test_leaves_import_leaves_alone() -> None:
    for leaf in LEAVES:
        assert {name.split(".")[0] for name in _imported(PACKAGE / f"{leaf}.py")} <= LEAVES


@pytest.mark.parametrize("room", CLOSED)
def test_a_room_knows_nothing_of_those_above_and_beside_it(room: str) -> None:
    place = PACKAGE.joinpath(*room.split("."))
    files = list(place.rglob("*.py")) if place.is_dir() else [place.with_suffix(".py")]
    assert all(file.is_file() for file in files)
    found = {
        (_name(file), closed)
        for file in files
        for closed in CLOSED[room]
        if any(_within(name, closed) for name in _imported(file))
    }
    assert not found - OPEN_STILL

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
    "cells", "models", "activations", "dictionaries", "attribution", "enrichment", "interventions", "circuits",
    "evaluation", "atlas", "explorer", "pipeline", "tl", "pl", "cli",
)  # fmt: skip
LEAVES = {
    "_version", "compiled", "errors", "files", "lazy", "moments", "progress", "registry", "seeds", "settings",
    "statistics", "threads", "vocabulary",
}  # fmt: skip

CLOSED = {
    # a room, or a file: what it knows nothing of
    "explorer.data": (
        "explorer.http",
        "explorer.notes",
        "explorer.selections",
        "explorer.review",
        "explorer.trying",
        "explorer.app",
        "explorer.export",
        "explorer.report",
    ),
    "explorer.http": (
        "explorer.data",
        "explorer.notes",
        "explorer.selections",
        "explorer.review",
        "explorer.trying",
        "explorer.app",
        "explorer.export",
        "explorer.report",
    ),
    "explorer.notes": (
        *("explorer.data", "explorer.review", "explorer.trying", "explorer.app", "explorer.export", "explorer.report"),
        "explorer.selections",
    ),
    "explorer.selections": (
        *("explorer.review", "explorer.trying", "explorer.app", "explorer.export", "explorer.report"),
    ),
    "explorer.review": ("explorer.trying", "explorer.app", "explorer.export", "explorer.report"),
    "explorer.trying": ("explorer.notes", "explorer.review", "explorer.app", "explorer.export", "explorer.report"),
    "models.scvi": ("models.scgpt", "models.geneformer", "models.cell2sentence", "models.transformer"),
    "models.scgpt": ("models.scvi", "models.geneformer", "models.cell2sentence"),
    "models.geneformer": ("models.scvi", "models.scgpt", "models.cell2sentence"),
    "models.cell2sentence": ("models.scvi", "models.scgpt", "models.geneformer"),
    "models.transformer": ("models.scvi", "models.scgpt", "models.geneformer", "models.cell2sentence"),
    "dictionaries.sparse_ops": (
        *("dictionaries.files", "dictionaries.sparse", "dictionaries.kinds", "dictionaries.baselines"),
        *("dictionaries.training", "dictionaries.fitting", "dictionaries.exchange"),
    ),
    "dictionaries.base": (
        *("dictionaries.sparse", "dictionaries.kinds", "dictionaries.baselines", "dictionaries.training"),
        *("dictionaries.fitting", "dictionaries.exchange"),
    ),
    "dictionaries.files": (
        *("dictionaries.sparse", "dictionaries.kinds", "dictionaries.baselines", "dictionaries.training"),
        *("dictionaries.fitting", "dictionaries.exchange"),
    ),
    "dictionaries.sparse": (
        *("dictionaries.kinds", "dictionaries.baselines", "dictionaries.training", "dictionaries.fitting"),
        *("dictionaries.exchange",),
    ),
    "dictionaries.kinds": ("dictionaries.baselines", "dictionaries.fitting", "dictionaries.exchange"),
    "dictionaries.baselines": ("dictionaries.kinds", "dictionaries.fitting", "dictionaries.exchange"),
    "dictionaries.training": ("dictionaries.kinds", "dictionaries.fitting", "dictionaries.exchange"),
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


def _is_late(node: ast.AST) -> bool:
    """Say whether what stands in `node` is not run when its module is imported."""
    if isinstance(node, ast.If):
        return isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"
    return isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)


def _imported(file: Path, *, inside: bool = True) -> set[str]:
    """Return the modules of cellglass, and what is taken from them, that a file imports: ``atlas.read.Atlas``.

    With `inside`, imports inside of functions and for type checking count.
    """
    found, tree = set(), ast.parse(file.read_text(encoding="utf-8"))
    late = [] if inside else [node for node in ast.walk(tree) if _is_late(node)]
    left_out = {id(node) for part in late for node in ast.walk(part)}
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
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
    assert not found


def _circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Return the sets of modules that import each other in a circle (Tarjan's strongly connected components)."""
    import networkx as nx

    graph = nx.DiGraph([(one, other) for one, others in arrows.items() for other in others])
    return [sorted(part) for part in nx.strongly_connected_components(graph) if len(part) > 1]


def test_no_modules_import_each_other_in_a_circle() -> None:
    """At import; inside of functions and for type checking alone a circle may be opened, and is not looked at."""
    files = {_name(file).removesuffix(".__init__"): file for file in PACKAGE.rglob("*.py")}
    arrows: dict[str, set[str]] = {}
    for name, file in files.items():
        found = _imported(file, inside=False)
        modules = {part for one in found for part in (one, one.rpartition(".")[0]) if part in files}
        if file.name != "__init__.py":  # a package's own names are not imports of what it holds
            arrows[name] = {part for part in modules if files[part].name != "__init__.py"} - {name}
    assert sum(map(len, arrows.values())) > 400
    assert _circles(arrows) == []
    assert _circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}) == [["a", "b", "c"]]

"""The circuit of a class on disk: JSON that brings it back, nodes and edges as tables of text, and a picture.

    {"format": "cellglass-class-circuit", "version": 2, "about": {...},
     "nodes": {COLUMN: [...], ...}, "edges": {COLUMN: [...], ...}, "seen": {COLUMN: [...], ...},
     "without": {COLUMN: [...], ...}}

``without`` is there where genes were deleted.

Columns are those of `ClassCircuit`. What is not a number is null; numbers have as many digits as bring back the same
bits: float64 of nodes, float32 of edges. A reader of a later version reads all earlier ones; what is added without a
new version may be ignored. Version 2 added edges into heads, what they look at, and names of features.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellglass.circuits.classes.circuit import WITHOUT, ClassCircuit
from cellglass.circuits.classes.merging import KINDS
from cellglass.circuits.draw import draw_graph
from cellglass.circuits.head_json import shortest, whole_numbers
from cellglass.circuits.json import plain, read_about, read_as, write_document
from cellglass.circuits.pruning import prune
from cellglass.errors import InputError
from cellglass.files import atomic_path

FORMAT, VERSION = "cellglass-class-circuit", 2
ENDS = ("target", "source")
_AGAIN = "trace the class again, or take the file anew from where it came"
_TEXTS = ("kind", "gene", "name", "called")
_INTEGERS = ("layer", "number")
_NEEDED = {
    "nodes": ("kind", "layer", "number", "gene", "name", "share", "value", "influence", "effect", "genes"),
    "edges": ("target", "source", "share", "weight", "influence"),
    "seen": ("target", "source", "weight"),
    "without": ("gene", *WITHOUT),
}


def write_class(circuit: ClassCircuit, path: Path | str) -> list[Path]:
    """Write a class circuit, its nodes, edges and deletions (``.csv``) and a picture (``.svg``); return the paths."""
    path = Path(path)
    if path.suffix != ".json":
        raise InputError(f"{path}: a class circuit is written as JSON; end the file's name in .json")
    nodes, edges, picture = (path.with_suffix(end) for end in (".nodes.csv", ".edges.csv", ".svg"))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_document(path, _document(circuit))
    names = circuit.nodes["name"].to_numpy()
    table = circuit.nodes.assign(genes=[" ".join(genes) for genes in circuit.nodes["genes"]])
    own = circuit.edges.drop(columns=["target", "source"])
    own.insert(0, "target", names[circuit.edges["target"]])
    own.insert(1, "source", names[circuit.edges["source"]])
    tables = [(nodes, table), (edges, own)]
    if len(circuit.without):
        tables.append((path.with_suffix(".without.csv"), circuit.without))
    for file, content in tables:
        with atomic_path(file) as temporary:
            content.to_csv(temporary, index=False)
    draw_graph(prune(circuit.graph()), picture)
    return [path, *(file for file, _ in tables), picture]


def read_class_about(path: Path | str) -> dict[str, Any]:
    """Return what a class circuit is about, as `cellglass.circuits.json.read_about`."""
    return read_about(path, FORMAT, VERSION, read_class)


def read_class(path: Path | str) -> ClassCircuit:
    """Return what `write_class` wrote; InputError of no such file, another, a damaged or a newer one."""
    return read_as(path, FORMAT, VERSION, _circuit, _AGAIN)


def _document(circuit: ClassCircuit) -> dict[str, Any]:
    nodes: dict[str, list[Any]] = {}
    for name, column in circuit.nodes.items():
        if name in _TEXTS or name in _INTEGERS or name == "genes":
            nodes[str(name)] = column.tolist()
        else:
            nodes[str(name)] = [_number(x) for x in column.tolist()]
    without = {str(name): column.tolist() if name == "gene" else [_number(x) for x in column.tolist()]
               for name, column in circuit.without.items()}  # fmt: skip
    return {
        "format": FORMAT, "version": VERSION, "about": plain(circuit.about), "nodes": nodes,
        "edges": _edges(circuit.edges), "seen": _edges(circuit.seen),
        **({"without": without} if len(circuit.without) else {}),
    }  # fmt: skip


def _edges(table: pd.DataFrame) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {name: table[name].tolist() for name in ENDS}
    for name in table.columns[2:]:
        found[str(name)] = [_number(x) for x in shortest(table[name].to_numpy())]
    return found


def _number(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _circuit(held: dict[str, Any]) -> ClassCircuit:
    tables = {}
    for name, needed in _NEEDED.items():
        there = name in held or not (name == "without" or (name == "seen" and held["version"] < 2))
        columns = held[name] if there else {one: [] for one in needed}
        missing = [one for one in needed if one not in columns]
        if missing:
            raise KeyError(f"{name}.{missing[0]}")
        if len({len(column) for column in columns.values()}) != 1:
            raise ValueError(f"the columns of {name} have different lengths")
        tables[name] = columns
    nodes = tables["nodes"]
    n, unknown = len(nodes["kind"]), set(nodes["kind"]) - set(KINDS)
    if unknown:
        raise ValueError(f"there is no kind of node {sorted(unknown)[0]!r}")
    if not isinstance(held["about"], dict):
        raise TypeError("about is no mapping")
    found = pd.DataFrame(
        {
            name: column
            if name in _TEXTS or name == "genes"
            else whole_numbers(column, name)
            if name in _INTEGERS
            else np.array(column, dtype=np.float64)
            for name, column in nodes.items()
        }
    )
    if "called" not in found:
        found.insert(list(found.columns).index("name") + 1, "called", "")
    without = pd.DataFrame(
        {
            name: list(map(str, column)) if name == "gene" else np.array(column, dtype=np.float64)
            for name, column in tables["without"].items()
        }
    )
    edges, seen = (_of_edges(tables[name], n) for name in ("edges", "seen"))
    return ClassCircuit(found, edges, held["about"], seen, without)


def _of_edges(columns: dict[str, Any], nodes: int) -> pd.DataFrame:
    ends = {name: whole_numbers(columns[name], name) for name in ENDS}
    if any(((end < 0) | (end >= nodes)).any() for end in ends.values()):
        raise ValueError("an edge is of a node that is not there")
    rest = {name: np.array(column, dtype=np.float32) for name, column in columns.items() if name not in ENDS}
    return pd.DataFrame({**ends, **rest})

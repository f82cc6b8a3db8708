"""The circuit of a class on disk: JSON that brings it back, nodes and edges as tables of text, and a picture.

    {"format": "cellglass-class-circuit", "version": 1, "about": {...},
     "nodes": {COLUMN: [...], ...}, "edges": {COLUMN: [...], ...}}

Columns are those of `ClassCircuit`. What is not a number is null; numbers have as many digits as bring back the same
bits: float64 of nodes, float32 of edges. A reader of a later version reads all earlier ones; what is added without a
new version may be ignored.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellglass.circuits.classes.circuit import ClassCircuit
from cellglass.circuits.classes.merging import KINDS
from cellglass.circuits.draw import draw_graph
from cellglass.circuits.head_json import shortest, whole_numbers
from cellglass.circuits.json import plain, read_about, read_as, write_document
from cellglass.circuits.pruning import prune
from cellglass.errors import InputError
from cellglass.files import atomic_path

FORMAT, VERSION = "cellglass-class-circuit", 1
ENDS = ("target", "source")
_AGAIN = "trace the class again, or take the file anew from where it came"
_TEXTS = ("kind", "gene", "name")
_INTEGERS = ("layer", "number")
_NEEDED = {
    "nodes": ("kind", "layer", "number", "gene", "name", "share", "value", "influence", "effect", "genes"),
    "edges": ("target", "source", "share", "weight", "influence"),
}


def write_class(circuit: ClassCircuit, path: Path | str) -> list[Path]:
    """Write a class circuit, its nodes and edges (``.csv``) and a picture (``.svg``) beside it; return the paths."""
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
    for file, content in ((nodes, table), (edges, own)):
        with atomic_path(file) as temporary:
            content.to_csv(temporary, index=False)
    draw_graph(prune(circuit.graph()), picture)
    return [path, nodes, edges, picture]


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
    edges: dict[str, list[Any]] = {name: circuit.edges[name].tolist() for name in ENDS}
    for name in circuit.edges.columns[2:]:
        edges[str(name)] = [_number(x) for x in shortest(circuit.edges[name].to_numpy())]
    return {"format": FORMAT, "version": VERSION, "about": plain(circuit.about), "nodes": nodes, "edges": edges}


def _number(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _circuit(held: dict[str, Any]) -> ClassCircuit:
    tables = {}
    for name, needed in _NEEDED.items():
        columns = held[name]
        missing = [one for one in needed if one not in columns]
        if missing:
            raise KeyError(f"{name}.{missing[0]}")
        if len({len(column) for column in columns.values()}) != 1:
            raise ValueError(f"the columns of {name} have different lengths")
        tables[name] = columns
    nodes, edges = tables["nodes"], tables["edges"]
    n, unknown = len(nodes["kind"]), set(nodes["kind"]) - set(KINDS)
    if unknown:
        raise ValueError(f"there is no kind of node {sorted(unknown)[0]!r}")
    ends = [whole_numbers(edges[name], name) for name in ENDS]
    if any(((end < 0) | (end >= n)).any() for end in ends):
        raise ValueError("an edge is of a node that is not there")
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
    rest = {name: np.array(column, dtype=np.float32) for name, column in edges.items() if name not in ENDS}
    return ClassCircuit(found, pd.DataFrame({"target": ends[0], "source": ends[1], **rest}), held["about"])

"""A graph on disk: one JSON file, the same bytes for the same graph, and back again without any loss.

    {"format": "cellglass-circuit", "version": 2,
     "about": {...}, "tokens": [...], "genes": [...], "answer_weights": [...],
     "nodes": {"kind": [...], "layer": [...], "position": [...], "feature": [...], "value": [...], "label": [...]},
     "weights": {"dtype": "float32", "start": [...], "source": [...], "weight": [...]},
     "heads": null or {...}}

Row i of the weights, the effects on node i, are the places start[i] to start[i + 1] of `source` and `weight`. What is
not a number is null; numbers have as many digits as bring back the same bits. A reader of a later version reads all
earlier ones; what is added without a new version may be ignored. Version 2 added the heads, which ``head_json.py``
describes.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.circuits.graph import KINDS, Graph
from cellglass.circuits.head_json import TYPES, heads_document, read_heads, shortest, whole_numbers
from cellglass.errors import InputError, one_line
from cellglass.files import atomic_path, read_json

Array = np.ndarray[Any, Any]
T = TypeVar("T")

FORMAT, VERSION = "cellglass-circuit", 2
_INTEGERS = ("layer", "position", "feature")
_FIRST = 1 << 20
_AGAIN = "trace the cell again, or take the file anew from where it came"


def write_graph(graph: Graph, path: Path | str) -> None:
    """Write a graph as JSON, whole or not at all.

    Raises
    ------
    InputError
        Weights that are no finite numbers, or an `about` that is no plain value.
    """
    write_document(path, _document(graph))


def write_document(path: Path | str, document: dict[str, Any]) -> None:
    """Write plain values as JSON, whole or not at all, the same bytes for the same values."""
    content = _bytes(document)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def graph_bytes(graph: Graph) -> bytes:
    """Return the content of the file that `write_graph` writes."""
    return _bytes(_document(graph))


def _bytes(document: dict[str, Any]) -> bytes:
    return json.dumps(document, allow_nan=False, separators=(",", ":")).encode("ascii") + b"\n"


def read_graph(path: Path | str) -> Graph:
    """Return the graph that `write_graph` wrote.

    Raises
    ------
    InputError
        No such file, another one, a damaged one, or one of a newer cellglass.
    """
    return read_as(path, FORMAT, VERSION, _graph, _AGAIN)


def read_as(path: Path | str, form: str, newest: int, make: Callable[[dict[str, Any]], T], again: str) -> T:
    """Return what `make` makes of a JSON file of a format and of a version up to `newest`; InputError as `read_graph`.

    `again` says how to come by the file anew.
    """
    held = read_json(path, way_out=again, missing=f"{path}: there is no such file; name a circuit that was written")
    if not isinstance(held, dict) or held.get("format") != form:
        raise InputError(f'{path}: this is no circuit of cellglass, which says "format": "{form}"; name another file')
    version = held.get("version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise InputError(f"{path}: the circuit states no version; {again}")
    if version > newest:
        raise InputError(f"{path}: a newer cellglass wrote it; update with: pip install -U cellglass")
    try:
        return make(held)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
        reason = f"{error.args[0]} is missing" if isinstance(error, KeyError) else one_line(error)
        raise InputError(f"{path}: the circuit is damaged ({reason}); {again}") from error


def read_about(
    path: Path | str, form: str = FORMAT, version: int = VERSION, read: Callable[[Path], Any] = read_graph
) -> dict[str, Any]:
    """Return what a graph is about; of a file of `write_graph`, which may be large, only the beginning is read.

    Parameters
    ----------
    path
    form, version, read
        Of another sort of circuit, whose ``about`` stands as early in its file: the format, its newest version, and
        what reads it whole.

    Raises
    ------
    InputError
        As `read` does.
    """
    path = Path(path)
    if path.is_file():
        with path.open(encoding="utf-8", errors="replace") as file:
            text = file.read(_FIRST)
        head = re.match(rf'\s*{{"format":"{form}","version":(\d{{1,4}}),"about":', text)
        if head and 1 <= int(head[1]) <= version:
            try:
                about, _ = json.JSONDecoder().raw_decode(text, head.end())
            except (ValueError, RecursionError):  # it is longer, or damaged
                about = None
            if isinstance(about, dict):
                return about
    found: dict[str, Any] = read(path).about
    return found


def plain(value: Any, place: str = "about") -> Any:
    """Return a value as JSON has it: mappings by name, NaN as None; InputError for what is no plain value."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(name): plain(value[name], f"{place}.{name}") for name in sorted(value, key=str)}
    if isinstance(value, np.ndarray | list | tuple):
        return [plain(one, place) for one in value]
    raise InputError(f"{place} is a {type(value).__name__}; a graph is written with texts, numbers, lists and mappings")


def _document(graph: Graph) -> dict[str, Any]:
    weights = sp.csr_matrix(graph.weights, copy=True)
    weights.sum_duplicates()
    if weights.dtype.name not in TYPES:
        weights = weights.astype(np.float64)
    if not np.isfinite(weights.data).all():
        raise InputError("the graph has weights that are no finite numbers; trace the cell again")
    nodes: dict[str, list[Any]] = {"kind": [str(kind) for kind in graph.nodes["kind"]]}
    for name in _INTEGERS:
        nodes[name] = [int(number) for number in graph.nodes[name]]
    nodes["value"] = [float(x) if math.isfinite(x) else None for x in graph.nodes["value"]]
    nodes["label"] = [str(label) for label in graph.nodes["label"]]
    return {
        "format": FORMAT,
        "version": VERSION,
        "about": plain(graph.about),
        "tokens": [str(text) for text in graph.tokens],
        "genes": [str(gene) for gene in graph.genes],
        "answer_weights": [float(x) for x in graph.answer_weights],
        "nodes": nodes,
        "weights": {
            "dtype": weights.dtype.name,
            "start": weights.indptr.tolist(),
            "source": weights.indices.tolist(),
            "weight": shortest(weights.data),
        },
        "heads": None if graph.heads is None else heads_document(graph.heads),
    }


def _graph(held: dict[str, Any]) -> Graph:
    nodes, n = _nodes(held["nodes"])
    tokens, genes = _texts(held["tokens"], "tokens"), _texts(held["genes"], "genes")
    if len(tokens) != len(genes):
        raise ValueError(f"{len(tokens)} tokens, but the genes of {len(genes)}")
    placed = nodes["kind"].isin(["feature", "error", "token"]).to_numpy()
    position = nodes["position"].to_numpy()
    if ((position < -1) | (position >= len(tokens)) | (placed & (position < 0))).any():
        raise ValueError("a node is at a token that is not there")
    if not isinstance(held["about"], dict):
        raise TypeError("about is no mapping")
    answers = np.array(held["answer_weights"], dtype=np.float64)
    if answers.shape != ((nodes["kind"] == "answer").sum(),) or not np.isfinite(answers).all():
        raise ValueError("answer_weights are not one number for each answer")
    weights = _weights(held["weights"], n)
    _check_order(nodes, weights)
    heads = None if held.get("heads") is None else read_heads(held["heads"], n, len(tokens))
    return Graph(nodes, weights, answers, tokens, genes, held["about"], heads)


def _nodes(held: dict[str, Any]) -> tuple[pd.DataFrame, int]:
    columns: dict[str, Any] = {"kind": np.array(_texts(held["kind"], "kind"), dtype=object)}
    for name in _INTEGERS:
        columns[name] = whole_numbers(held[name], f"nodes.{name}")
    columns["value"] = np.array(held["value"], dtype=np.float64)
    columns["label"] = _texts(held["label"], "label")
    lengths = {len(column) for column in columns.values()}
    if len(lengths) != 1:
        raise ValueError("the columns of the nodes have different lengths")
    unknown = set(columns["kind"]) - set(KINDS)
    if unknown:
        raise ValueError(f"there is no kind of node {sorted(unknown)[0]!r}")
    return pd.DataFrame(columns), lengths.pop()


def _weights(held: dict[str, Any], n: int) -> sp.csr_matrix:
    if held["dtype"] not in TYPES:
        raise ValueError(f"weights are of {' or '.join(TYPES)}, not of {held['dtype']!r}")
    start, source = whole_numbers(held["start"], "weights.start"), whole_numbers(held["source"], "weights.source")
    weight = np.array(held["weight"], dtype=held["dtype"])
    if len(start) != n + 1 or start[0] != 0 or (np.diff(start) < 0).any() or start[-1] != len(source):
        raise ValueError("weights.start does not tell the rows of the nodes apart")
    if weight.shape != source.shape or not np.isfinite(weight).all():
        raise ValueError("weights are not one number for each source")
    if ((source < 0) | (source >= n)).any():
        raise ValueError("a weight is of a node that is not there")
    return sp.csr_matrix((weight, source, start), shape=(n, n))


def _check_order(nodes: pd.DataFrame, weights: sp.csr_matrix) -> None:
    """Refuse weights of what has no row, and circles: features read earlier layers alone, and nothing reads answers."""
    kind, layer = nodes["kind"].to_numpy(), nodes["layer"].to_numpy()
    target, source = weights.nonzero()
    if not np.isin(kind[target], ["feature", "answer"]).all():
        raise ValueError("a node that is neither feature nor answer has a row")
    both = (kind[target] == "feature") & (kind[source] == "feature")
    if (kind[source] == "answer").any() or (layer[source][both] >= layer[target][both]).any():
        raise ValueError("the graph has a circle")


def _texts(held: Any, place: str) -> list[str]:
    if not isinstance(held, list) or not all(isinstance(text, str) for text in held):
        raise TypeError(f"{place} are no texts")
    return held

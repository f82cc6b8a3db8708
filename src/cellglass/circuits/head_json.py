"""The heads of a graph in its JSON file, and back again without any loss.

    "heads": {"table": {"layer": [...], "head": [...], "effect": [...], "direct": [...], ...},
              "seen": {"dtype", "start", "place", "weight"}, "weights": {"dtype", "start", "place", "weight"},
              "to": {"dtype", "target", "head", "weight"}, "parts": {"dtype", "target", "source", "head", "weight"},
              "looks": [{"head", "query", "key", "effect", "share", "score", "pairs": [...]}, ...]}

Row i of `seen` and of `weights`, of head i, are the places start[i] to start[i + 1]: of tokens, and of nodes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.circuits.head_nodes import PARTS, STREAM, TO, HeadNodes
from cellglass.errors import InputError

Array = np.ndarray[Any, Any]

TYPES = ("float32", "float64")
COLUMNS = ("layer", "head", "effect", "direct")
"""Of the table; those of class circuits come behind."""


def heads_document(heads: HeadNodes) -> dict[str, Any]:
    """Return heads as plain values; InputError where a weight is not finite."""
    table: dict[str, Any] = {}
    for name, column in heads.table.items():
        values = column.tolist()
        table[str(name)] = values if name in ("layer", "head") else [x if math.isfinite(x) else None for x in values]
    return {
        "table": table,
        "seen": _sparse(heads.seen),
        "weights": _sparse(heads.weights),
        "to": _edges(heads.to),
        "parts": _edges(heads.parts),
        "looks": heads.looks,
    }


def read_heads(held: dict[str, Any], nodes: int, tokens: int) -> HeadNodes:
    """Return what `heads_document` gave; KeyError, TypeError or ValueError where it is damaged."""
    columns = {str(name): column for name, column in held["table"].items()}
    for name in COLUMNS:
        if name not in columns:
            raise KeyError(f"heads.table.{name}")
    n = len(columns["layer"])
    if any(len(column) != n for column in columns.values()):
        raise ValueError("the columns of the heads have different lengths")
    table = pd.DataFrame(
        {
            name: whole_numbers(column, f"heads.{name}") if name in ("layer", "head") else np.array(column, np.float64)
            for name, column in columns.items()
        }
    )
    looks = held["looks"]
    if not isinstance(looks, list) or not all(isinstance(one, dict) for one in looks):
        raise TypeError("heads.looks is no list of mappings")
    return HeadNodes(
        table,
        _of_sparse(held["seen"], (n, tokens), "heads.seen"),
        _of_sparse(held["weights"], (n, nodes), "heads.weights"),
        _of_edges(held["to"], TO, nodes, n),
        _of_edges(held["parts"], PARTS, nodes, n),
        looks,
    )


def shortest(values: Array) -> list[float]:
    """Return numbers whose JSON has no more digits than bring back the same bits."""
    return values.tolist() if values.dtype == np.float64 else [float(text) for text in values.astype(str)]


def whole_numbers(held: Any, place: str) -> Array:
    """Return a list of whole numbers as int64; TypeError where it is none."""
    if not isinstance(held, list) or not all(type(number) is int for number in held):
        raise TypeError(f"{place} are no whole numbers")
    return np.array(held, dtype=np.int64)


def _sparse(matrix: sp.csr_matrix) -> dict[str, Any]:
    made = matrix.copy()
    made.sum_duplicates()
    made.eliminate_zeros()
    return {
        "dtype": made.dtype.name,
        "start": made.indptr.tolist(),
        "place": made.indices.tolist(),
        "weight": shortest(_finite(made.data)),
    }


def _edges(table: pd.DataFrame) -> dict[str, Any]:
    weight = table["weight"].to_numpy()
    ends = {str(name): table[name].tolist() for name in table.columns if name != "weight"}
    return {"dtype": weight.dtype.name, **ends, "weight": shortest(_finite(weight))}


def _finite(values: Array) -> Array:
    if not np.isfinite(values).all():
        raise InputError("the graph's heads have weights that are no finite numbers; trace the cell again")
    return values


def _of_sparse(held: dict[str, Any], shape: tuple[int, int], place: str) -> sp.csr_matrix:
    start, column = whole_numbers(held["start"], place), whole_numbers(held["place"], place)
    weight = _weight(held, place)
    if len(start) != shape[0] + 1 or start[0] != 0 or (np.diff(start) < 0).any() or start[-1] != len(column):
        raise ValueError(f"{place}.start does not tell the heads apart")
    if weight.shape != column.shape or ((column < 0) | (column >= shape[1])).any():
        raise ValueError(f"{place} is of something that is not there")
    return sp.csr_matrix((weight, column, start), shape=shape)


def _of_edges(held: dict[str, Any], names: tuple[str, ...], nodes: int, heads: int) -> pd.DataFrame:
    columns: dict[str, Array] = {}
    for name in names[:-1]:
        values = whole_numbers(held[name], f"heads.{name}")
        least, most = (STREAM, heads) if name == "head" else (0, nodes)
        if ((values < least) | (values >= most)).any():
            raise ValueError(f"an edge of heads has a {name} that is not there")
        columns[name] = values
    columns["weight"] = _weight(held, "heads")
    if len({len(column) for column in columns.values()}) != 1:
        raise ValueError("the columns of edges of heads have different lengths")
    return pd.DataFrame(columns)


def _weight(held: dict[str, Any], place: str) -> Array:
    if held["dtype"] not in TYPES:
        raise ValueError(f"{place} has weights of {' or '.join(TYPES)}, not of {held['dtype']!r}")
    return _finite(np.array(held["weight"], dtype=held["dtype"]))

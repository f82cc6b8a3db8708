"""The heads of a graph as the page reads them: effects, where they look, what they read, what they feed, and why.

What is not listed of a head's row is told as one number, ``more``, so that the row still adds up to its effect.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from cellglass.circuits.graph import Graph
from cellglass.circuits.head_nodes import STREAM, HeadNodes
from cellglass.explorer.data.json import short, shorts

Array = np.ndarray[Any, Any]

MOST_HEADS, MOST_ROWS, MOST_PARTS = 400, 60, 20_000
COLUMNS = ("effect", "direct", "share", "effect_sd", "other_effect", "difference", "difference_se")


def heads_view(graph: Graph, new: Array) -> dict[str, Any] | None:
    """Return the heads of a graph as plain values, those of largest effect first; None where it has none.

    Parameters
    ----------
    graph
    new : numpy.ndarray of int64, (n_nodes,)
        The number of each node on the page, -1 of those that it does not get.

    Returns
    -------
    dict
        ``layer``, ``head`` and those of `COLUMNS` that there are, lists; ``seen`` (pairs of token and effect) and
        ``reads`` (pairs of node and weight) of each head, the largest first, with ``more``; ``to``: pairs of node and
        weight; ``looks``; ``parts``: columns ``target``, ``source``, ``head`` (a place in these lists, -1 for what
        passes none), ``weight``.
    """
    heads = graph.heads
    if heads is None or not len(heads):
        return None
    order = heads.strongest(MOST_HEADS)
    table = heads.table.iloc[order]
    place = np.full(len(heads) + 1, -1)  # the last is that of the stream
    place[order] = np.arange(len(order))
    seen, reads, more = [], [], []
    for row in order:
        seen.append(_pairs(heads.seen[row].indices, heads.seen[row].data))
        one = heads.weights[row]
        there = new[one.indices] >= 0
        listed = _pairs(new[one.indices[there]], one.data[there])
        reads.append(listed)
        more.append(short(float(heads.table["effect"].iloc[row]) - sum(weight for _, weight in listed)))
    return {
        "layer": table["layer"].tolist(),
        "head": table["head"].tolist(),
        **{name: shorts(table[name]) for name in COLUMNS if name in table},
        "seen": seen,
        "reads": reads,
        "more": more,
        "to": _to(heads, order, new),
        "parts": _parts(heads, place, new),
        "looks": [found for one in heads.looks if (found := _look(one, place, len(graph.tokens))) is not None],
    }


def _pairs(place: Array, values: Array) -> list[list[Any]]:
    """Return the largest values with their places, the largest first."""
    order = np.argsort(-np.abs(values), kind="stable")[:MOST_ROWS]
    return [[int(place[i]), weight] for i in order if (weight := short(float(values[i])))]


def _to(heads: HeadNodes, order: list[int], new: Array) -> list[list[list[Any]]]:
    """Return what each head feeds; of a graph that was not split by head, nothing."""
    found = []
    for row in order:
        some = heads.to[heads.to["head"] == row]
        target = new[some["target"].to_numpy(dtype=np.int64)]
        found.append(_pairs(target[target >= 0], some["weight"].to_numpy(dtype=np.float64)[target >= 0]))
    return found


def _parts(heads: HeadNodes, place: Array, new: Array) -> dict[str, Any]:
    table: pd.DataFrame = heads.parts
    ends = {name: new[table[name].to_numpy(dtype=np.int64)] for name in ("target", "source")}
    head = table["head"].to_numpy(dtype=np.int64)
    number, weight = place[head], table["weight"].to_numpy(dtype=np.float64)
    there = (ends["target"] >= 0) & (ends["source"] >= 0) & ((head == STREAM) | (number >= 0))
    some = np.flatnonzero(there)
    some = np.sort(some[np.argsort(-np.abs(weight[some]), kind="stable")[:MOST_PARTS]])
    return {
        **{name: end[some].tolist() for name, end in ends.items()},
        "head": number[some].tolist(),
        "weight": shorts(weight[some]),
    }


def _look(one: dict[str, Any], place: Array, tokens: int) -> dict[str, Any] | None:
    """Return why a head looks where it looks, as plain values; None of what is damaged."""
    try:
        head, query, key = (int(one[name]) for name in ("head", "query", "key"))
        numbers = {name: short(float(one[name])) for name in ("effect", "share", "score")}
        pairs = [[str(pair["query"]), str(pair["key"]), short(float(pair["weight"]))] for pair in one["pairs"]]
    except (KeyError, TypeError, ValueError):
        return None
    if not (0 <= head < len(place) - 1 and 0 <= query < tokens and 0 <= key < tokens) or place[head] < 0:
        return None
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in numbers.values()):
        return None
    return {"head": int(place[head]), "query": query, "key": key, **numbers, "pairs": pairs[:MOST_ROWS]}

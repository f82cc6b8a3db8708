r"""Attention heads as nodes beside a graph: plain data, with what feeds them, what they feed and why they look there.

    effect    over all paths that pass the head, at any place: the answer less that without what the head gives
    direct    of it, what reaches the answer along the stream, past no feature and no later head

A path may pass several heads, so the effects of heads of different layers do not add up. The *row* of a head is its
effect by what it reads (features, errors, tokens, biases), which adds up to it. An edge between two nodes is split by
the last head that it passes before its target, and what passes none:

    weight[target, source] = along the stream + sum over heads of part[head, target, source]

Heads have no part in influence, scores and paths, which other nodes tell whole. What makes these numbers is in
``head_parts.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

Array = np.ndarray[Any, Any]

STREAM = -1
"""In the place of a head: what passes none."""
TO, PARTS = ("target", "head", "weight"), ("target", "source", "head", "weight")


def no_rows(columns: tuple[str, ...]) -> pd.DataFrame:
    """Return a table of edges without any."""
    return pd.DataFrame({name: np.empty(0, dtype=np.float64 if name == "weight" else np.int64) for name in columns})


@dataclass(frozen=True)
class HeadNodes:
    """The heads of a graph, of its first answer.

    Attributes
    ----------
    table : pandas.DataFrame
        One row a head, by layer and number: ``layer``, ``head``, ``effect`` (over all paths), ``direct``. In the graph
        of a class of cells also ``share`` and what else `ClassCircuit` tells of a node.
    seen : scipy.sparse.csr_matrix, (n_heads, n_tokens)
        The effect by the token that the head looks at. Of a class, by gene.
    weights : scipy.sparse.csr_matrix, (n_heads, n_nodes)
        The effect by the node of the graph that the head reads; rows add up to ``effect``.
    to : pandas.DataFrame
        ``target``, ``head`` (row of `table`), ``weight``: what a head is the last to carry to a node that was split.
    parts : pandas.DataFrame
        ``target``, ``source``, ``head`` (`STREAM` for what passes none), ``weight``: parts of single edges. Those of an
        edge add up to its weight with what other heads carry of it.
    looks : list of dict
        Why the strongest heads look where they look; see `cellglass.circuits.head_parts.looks_of`.
    """

    table: pd.DataFrame
    seen: sp.csr_matrix
    weights: sp.csr_matrix
    to: pd.DataFrame = field(default_factory=lambda: no_rows(TO))
    parts: pd.DataFrame = field(default_factory=lambda: no_rows(PARTS))
    looks: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        """Return the number of heads."""
        return len(self.table)

    def strongest(self, most: int) -> list[int]:
        """Return the rows of the heads of largest effect, the largest first."""
        order = np.argsort(-np.abs(self.table["effect"].to_numpy()), kind="stable")
        return [int(row) for row in order[:most]]

    def moved(self, place: Array, n: int, rest: int = -1) -> HeadNodes:
        """Return the same heads of a graph with other nodes.

        Parameters
        ----------
        place : numpy.ndarray of int64, (n_nodes,)
            The new number of each node, -1 of those that are gone; edges go with their nodes.
        n : int
            The number of nodes.
        rest : int
            The new node that takes what gone nodes feed heads, so that rows still add up; -1 leaves it out.
        """
        target = np.where(place < 0, rest, place)
        held = self.weights.tocoo()
        there = target[held.col] >= 0
        moved = sp.csr_matrix(
            (held.data[there], (held.row[there], target[held.col[there]])), shape=(len(self.table), n)
        )
        return replace(self, weights=moved, to=_moved(self.to, place), parts=_moved(self.parts, place))

    def check(self, nodes: int, tokens: int) -> None:
        """Assert that the parts go together; for those who build graphs."""
        assert self.seen.shape == (len(self.table), tokens)  # noqa: S101
        assert self.weights.shape == (len(self.table), nodes)  # noqa: S101


def head_name(layer: int, head: int) -> str:
    """Return what a head is called."""
    return f"head L{layer}.{head}"


def _moved(edges: pd.DataFrame, place: Array) -> pd.DataFrame:
    ends = [name for name in ("target", "source") if name in edges]
    found = edges.assign(**{name: place[edges[name].to_numpy(dtype=np.int64)] for name in ends})
    return found[(found[ends] >= 0).all(axis=1)].reset_index(drop=True)

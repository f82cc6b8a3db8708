r"""Pruning: the smallest set of nodes, then of edges, whose influence on the answers reaches a share of the whole.

With N and B of `cellglass.circuits.influence`, and w the weights of the answers:

    a node scores B_i; features and errors are kept by score, tokens and answers always
    an edge from j to i scores N[i, j] (B_i + w_i), both anew among the nodes that were kept

Then features that nothing reads, or that read nothing, and errors that nothing reads are taken away, until there are
none. So circuit-tracer prunes, with 0.8 of the nodes' influence and 0.98 of the edges'.

One thing is added here: what is taken away is still told. Its weights go to the node of what was left out, so that each
row adds up to its target as before. Biases stay: they have no part in N.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.circuits.graph import Graph
from cellglass.circuits.influence import normalised
from cellglass.errors import InputError

Array = np.ndarray[Any, Any]

NODE_SHARE = 0.8
EDGE_SHARE = 0.98
LEFT_OUT = "left out"


def prune(graph: Graph, node_share: float = NODE_SHARE, edge_share: float = EDGE_SHARE) -> Graph:
    """Return the graph of the nodes and edges that matter.

    Parameters
    ----------
    graph
    node_share, edge_share : float
        Of the whole influence, what the nodes and the edges that are kept reach; 0 to 1.

    Returns
    -------
    Graph
        Its weights are float64. ``about["pruning"]`` holds the shares and the numbers of features and errors before.
        Scores are of the whole graph: in a pruned one little is left but what explains the answer.

    Raises
    ------
    InputError
        A share that is none.
    """
    graph = _with_rest(graph)
    nodes, edges = kept(graph, node_share, edge_share)
    weights, constants = graph.weights.astype(np.float64), graph.of_kind("bias", "rest")
    stay = (weights.multiply(edges) + weights @ _only(constants, len(graph.nodes))).tocsr()
    gone = np.asarray((weights - stay).sum(axis=1)).ravel()
    rest = graph.of_kind("rest")[0]
    n = len(gone)
    whole = (stay + sp.csr_matrix((gone, (np.arange(n), np.full(n, rest))), shape=(n, n))).tocsr()
    whole.eliminate_zeros()
    table = graph.nodes.copy()
    table.loc[rest, "label"] = LEFT_OUT
    told = {
        "node_share": float(node_share),
        "edge_share": float(edge_share),
        "features": len(graph.of_kind("feature")),
        "errors": len(graph.of_kind("error")),
    }
    place = np.full(n, -1)
    place[nodes] = nodes
    heads = None if graph.heads is None else graph.heads.moved(place, n, rest)
    about = {**graph.about, "pruning": told}
    return replace(graph, nodes=table, weights=whole, about=about, heads=heads).take(nodes)


def kept(graph: Graph, node_share: float = NODE_SHARE, edge_share: float = EDGE_SHARE) -> tuple[Array, sp.csr_matrix]:
    """Return what `prune` keeps.

    Returns
    -------
    nodes : numpy.ndarray of int64
        Their numbers, ascending; biases, what was left out, tokens and answers among them.
    edges : scipy.sparse.csr_matrix of bool, (n_nodes, n_nodes)
        Of features, errors and tokens, ``edges[target, source]``.
    """
    for name, share in (("node_share", node_share), ("edge_share", edge_share)):
        if not 0 <= share <= 1:
            raise InputError(f"{name} is {share}; it is a share of the whole influence, from 0 to 1")
    kind = graph.nodes["kind"].to_numpy()
    strength = graph.influence()
    nodes = (strength >= _floor(strength, node_share)) & (strength > 0)
    nodes |= ~np.isin(kind, ["feature", "error"])
    score = edge_scores(graph, nodes)
    score.data[score.data < _floor(score.data, edge_share)] = 0
    score.eliminate_zeros()
    row, column = score.nonzero()
    while True:
        there = nodes[row] & nodes[column]
        row, column = row[there], column[there]
        is_read, reads = np.zeros(len(nodes), dtype=bool), np.zeros(len(nodes), dtype=bool)
        is_read[column], reads[row] = True, True
        more = nodes & (is_read | ~np.isin(kind, ["feature", "error"])) & (reads | (kind != "feature"))
        if np.array_equal(more, nodes):
            break
        nodes = more
    edges = sp.csr_matrix((np.ones(len(row), dtype=bool), (row, column)), shape=graph.weights.shape)
    return np.flatnonzero(nodes), edges


def cumulative_influence(graph: Graph) -> Array:
    """Return for each node the share of all influence that it and those above it have, float64 (n_nodes,).

    Small is important: the nodes up to a share of 0.8 are those that `prune` keeps at 0.8. Without any influence, 1.
    """
    strength = graph.influence()
    order = np.argsort(-strength, kind="stable")
    found = np.ones(len(strength))
    if strength.any():
        found[order] = np.cumsum(strength[order]) / strength.sum()
    return found


def edge_scores(graph: Graph, nodes: Array | None = None) -> sp.csr_matrix:
    """Return the scores of the edges among some nodes, bool (n_nodes,), or among all; float64 (n_nodes, n_nodes)."""
    nodes = np.ones(len(graph.nodes), dtype=bool) if nodes is None else nodes
    among = _only(np.flatnonzero(nodes & ~graph.nodes["kind"].isin(["bias", "rest"]).to_numpy()), len(nodes))
    small = replace(graph, weights=(among @ graph.weights.astype(np.float64) @ among).tocsr())
    passed = small.influence()
    passed[graph.of_kind("answer")] += graph.answer_weights
    target = graph.targets
    rows = normalised(small.weights[target].toarray()) * passed[target][:, None]
    row, column = np.nonzero(rows)
    return sp.csr_matrix((rows[row, column], (target[row], column)), shape=graph.weights.shape)


def _floor(scores: Array, share: float) -> float:
    """Return the score down to which the highest ones reach a share of all."""
    if not scores.any():
        return 0.0
    falling = np.sort(scores)[::-1]
    reached = np.cumsum(falling) / falling.sum()
    return float(falling[min(int(np.searchsorted(reached, share)), len(falling) - 1)])


def _only(kept: Array, n: int) -> sp.csr_matrix:
    """Return what leaves some columns as they are and makes the others 0, (n, n)."""
    return sp.csr_matrix((np.ones(len(kept)), (kept, kept)), shape=(n, n))


def _with_rest(graph: Graph) -> Graph:
    """Return the graph with a node for what is left out, in front of the answers."""
    if len(graph.of_kind("rest")):
        return graph
    at, n = int(graph.of_kind("answer").min(initial=len(graph.nodes))), len(graph.nodes)
    row = {"kind": "rest", "layer": -1, "position": -1, "feature": -1, "value": np.nan, "label": LEFT_OUT}
    parts = [graph.nodes.iloc[:at], pd.DataFrame([row]), graph.nodes.iloc[at:]]
    place = np.delete(np.arange(n + 1), at)
    spread = sp.csr_matrix((np.ones(n), (np.arange(n), place)), shape=(n, n + 1))
    weights = (spread.T @ graph.weights @ spread).tocsr()
    heads = None if graph.heads is None else graph.heads.moved(place, n + 1)
    return replace(graph, nodes=pd.concat(parts, ignore_index=True), weights=weights, heads=heads)

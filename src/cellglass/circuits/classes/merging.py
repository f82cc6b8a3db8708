r"""One cell's graph with its positions added up, so that graphs of different cells have nodes in common.

    token     all tokens of a gene; those of no gene together, as the gene ""
    feature   (layer, latent) at all tokens
    error     of a layer, at all tokens
    bias      of a layer's attention and MLP; norms, and what is the same in all cells, as layer -1
    rest      what the graph left out
    answer    one
    head      (layer, head), with edges from what it reads, which add up to its effect over all paths

    weight[T, S] = sum over t in T, s in S of weight[t, s]

and so influence, of nodes and of edges. A merged node, or edge, is *kept* where any of its members stays in the pruned
graph; a gene where the model reads it; a head where it is among those of largest effect that have 0.8 of all heads'
effects, signs aside. Heads have no part in influence. The total effects of tokens, errors and biases add up to the
answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from safetensors import safe_open
from safetensors.numpy import save

from cellglass.circuits.asked import Asked
from cellglass.circuits.choice import nodes_of, units
from cellglass.circuits.genes import of_tokens
from cellglass.circuits.graph import Graph
from cellglass.circuits.head_nodes import HeadNodes
from cellglass.circuits.propagation import effects
from cellglass.circuits.pruning import NODE_SHARE, edge_scores, kept
from cellglass.files import atomic_path

Array = np.ndarray[Any, Any]

KINDS = ("token", "feature", "error", "bias", "rest", "answer", "head")


class Key(NamedTuple):
    """What a node is called in every cell.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    layer : int
        Of features, errors, biases and heads; -1 of others.
    number : int
        Of a feature in its layer's transcoder, or of a head; else -1.
    gene : str
        Of tokens; "" of those that are of no gene.
    """

    kind: str
    layer: int = -1
    number: int = -1
    gene: str = ""


@dataclass(frozen=True)
class Merged:
    """One cell's graph, merged: M nodes, E edges.

    Attributes
    ----------
    keys : list of Key
    value : numpy.ndarray, (M,)
        Activation of a feature, over the tokens at which the graph holds it; value of the answer; of a head the direct
        part of its effect; 0 of others.
    influence : numpy.ndarray, (M,)
    effect : numpy.ndarray, (M,)
        Total effect on the answer; of features over all tokens, whether the graph holds them or not.
    kept : numpy.ndarray of bool, (M,)
    target, source : numpy.ndarray of int64, (E,)
    weight, passed : numpy.ndarray of float32, (E,)
        Weight, and influence, of each edge.
    stays : numpy.ndarray of bool, (E,)
        Whether the edge is kept.
    where : numpy.ndarray, (P, 2)
        A feature's node and a token's: where the feature is active.
    active : numpy.ndarray, (P,)
        Its activation there.
    at : numpy.ndarray, (Q, 2)
        A head's node and a token's: where heads look.
    seen : numpy.ndarray, (Q,)
        The head's effect by way of them.
    """

    keys: list[Key]
    value: Array
    influence: Array
    effect: Array
    kept: Array
    target: Array
    source: Array
    weight: Array
    passed: Array
    stays: Array
    where: Array
    active: Array
    at: Array = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    seen: Array = field(default_factory=lambda: np.empty(0))


def merge(graph: Graph, totals: dict[Key, float]) -> Merged:
    """Return a cell's graph with its positions added up; see the head of this file.

    Parameters
    ----------
    graph
        The whole one, of one answer.
    totals
        Total effect of each node, as `totals_of` gives it.
    """
    node_keys = _keys(graph)
    of_graph = sorted(set(node_keys))
    assert graph.heads is not None  # noqa: S101  `build_graph` gives them
    heads = graph.heads
    of_heads = [
        Key("head", *pair) for pair in zip(heads.table["layer"].tolist(), heads.table["head"].tolist(), strict=True)
    ]
    keys = [*of_graph, *of_heads]
    place = {key: i for i, key in enumerate(keys)}
    member = np.array([place[key] for key in node_keys])
    m, n = len(keys), len(graph.nodes)
    among = sp.csr_matrix((np.ones(n), (member, np.arange(n))), shape=(m, n))
    value = among @ np.nan_to_num(graph.nodes["value"].to_numpy(dtype=np.float64))
    nodes, edges = kept(graph)
    whole = sp.csr_matrix(among @ graph.weights.astype(np.float64) @ among.T).tocoo()
    passed = (among @ edge_scores(graph) @ among.T).tocsr()
    stay = (among @ edges.astype(np.float64) @ among.T).tocsr()
    there = np.zeros(m, dtype=bool)
    there[member[nodes]] = True
    there[len(of_graph) :] = largest(heads.table["effect"].to_numpy())
    first = slice(len(of_graph), m)
    value[first] = heads.table["direct"]
    effect = np.array([totals.get(key, 0.0) for key in keys])
    effect[first] = heads.table["effect"]
    read = sp.csr_matrix(heads.weights.astype(np.float64) @ among.T).tocoo()
    return Merged(
        keys, value, among @ graph.influence(), effect, there,
        np.concatenate([whole.row, len(of_graph) + read.row]).astype(np.int64),
        np.concatenate([whole.col, read.col]).astype(np.int64),
        np.concatenate([whole.data, read.data]).astype(np.float32),
        np.concatenate([_at(passed, whole.row, whole.col), np.zeros(read.nnz)]).astype(np.float32),
        np.concatenate([_at(stay, whole.row, whole.col) > 0, there[len(of_graph) + read.row] & there[read.col]]),
        *_places(graph, member, place), *_seen(graph, heads, place),
    )  # fmt: skip


def totals_of(asked: Asked) -> dict[Key, float]:
    """Return the total effect on the answer of every node that a merged graph of this cell can have, but for heads."""
    targets = asked.answers.targets
    found = effects(asked.frozen, asked.replacement, targets, total=True)
    totals: dict[Key, float] = {}

    def add(key: Key, value: float) -> None:
        totals[key] = totals.get(key, 0.0) + value

    for gene, value in zip(asked.question.genes, of_tokens(found, asked.frozen).tolist(), strict=True):
        add(Key("token", gene=gene), value)
    made = units(asked.replacement, "whole")
    for layer, latent, value in zip(made.layer.tolist(), made.latent.tolist(),
                                    made.fold(nodes_of(found, asked.replacement)).tolist(), strict=True):  # fmt: skip
        add(Key("feature", layer, latent), value)
    for layer, value in enumerate(found.errors[..., 0].sum(1).tolist()):
        add(Key("error", layer), value)
    constant = {name: part.sum(0) for name, part in found.parts.items() if name in asked.frozen.constant}
    for name, bias in {**found.biases, **constant, "constant": found.constant}.items():
        add(Key("bias", _layer(name)), float(bias[0]))
    return totals


def write_merged(merged: Merged, path: Path) -> None:
    """Keep a merged graph in a file, whole or not at all."""
    arrays = {name: np.ascontiguousarray(value) for name, value in vars(merged).items() if name != "keys"}
    with atomic_path(path) as temporary:
        temporary.write_bytes(save(arrays, {"keys": json.dumps(merged.keys)}))


def read_merged(path: Path) -> Merged:
    """Return what `write_merged` kept."""
    with safe_open(path, "numpy") as held:
        keys = [Key(*one) for one in json.loads(held.metadata()["keys"])]
        return Merged(keys, **{name: held.get_tensor(name) for name in held.keys()})  # noqa: SIM118 (no mapping)


def _keys(graph: Graph) -> list[Key]:
    """Return the key of each node."""
    found = []
    for kind, layer, position, feature, label in zip(
        *(graph.nodes[name].tolist() for name in ("kind", "layer", "position", "feature", "label")), strict=True
    ):
        if kind == "token":
            found.append(Key(kind, gene=graph.genes[position]))
        elif kind == "bias":
            found.append(Key(kind, _layer(label)))
        else:
            found.append(Key(kind, layer if kind in ("feature", "error") else -1, feature))
    return found


def _layer(name: str) -> int:
    """Return the layer of a bias, ``layers.3.mlp``; -1 of one that is of none."""
    parts = name.split(".")
    return int(parts[1]) if parts[0] == "layers" and len(parts) > 1 else -1


def _places(graph: Graph, member: Array, place: dict[Key, int]) -> tuple[Array, Array]:
    """Return where features are active: pairs of a feature's node and a token's, and the activation there."""
    features = graph.of_kind("feature")
    token = np.array([place[Key("token", gene=graph.genes[t])] for t in graph.nodes["position"].iloc[features]])
    value = graph.nodes["value"].to_numpy(dtype=np.float64)[features]
    if not len(features):
        return np.empty((0, 2), dtype=np.int64), value
    pairs, which = np.unique(np.stack([member[features], token], axis=1), axis=0, return_inverse=True)
    return pairs, np.bincount(np.ravel(which), weights=value)


def _seen(graph: Graph, heads: HeadNodes, place: dict[Key, int]) -> tuple[Array, Array]:
    """Return where heads look: pairs of a head's node and a token's, and the head's effect by way of them."""
    genes = sorted(set(graph.genes))
    number = {gene: i for i, gene in enumerate(genes)}
    tokens = np.array([number[gene] for gene in graph.genes])
    among = sp.csr_matrix((np.ones(len(tokens)), (np.arange(len(tokens)), tokens)), shape=(len(tokens), len(genes)))
    found = sp.csr_matrix(heads.seen.astype(np.float64) @ among).tocoo()
    node = np.array([place[Key("token", gene=gene)] for gene in genes])
    return np.stack([len(place) - len(heads) + found.row, node[found.col]], axis=1).astype(np.int64), found.data


def largest(effect: Array) -> Array:
    """Return which of some effects are the largest that have `NODE_SHARE` of all, signs aside."""
    size = np.abs(effect)
    order = np.argsort(-size, kind="stable")
    before = np.cumsum(size[order]) - size[order]
    found = np.zeros(len(size), dtype=bool)
    found[order] = (before < NODE_SHARE * size.sum()) & (size[order] > 0)
    return found


def _at(values: sp.csr_matrix, row: Array, column: Array) -> Array:
    """Return entries of a sparse matrix, (n,)."""
    return np.asarray(values[row, column], dtype=np.float64).ravel()

r"""One cell's graph with its positions added up, so that graphs of different cells have nodes in common.

    token     all tokens of a gene; those of no gene together, as the gene ""
    feature   (layer, latent) at all tokens
    error     of a layer, at all tokens
    bias      of a layer's attention and MLP; norms, and what is the same in all cells, as layer -1
    rest      what the graph left out
    answer    one
    head      (layer, head), without edges: what it carries to the answer along the stream, from all tokens

    weight[T, S] = sum over t in T, s in S of weight[t, s]

and so influence, of nodes and of edges. A merged node, or edge, is *kept* where any of its members stays in the pruned
graph; a gene where the model reads it. The total effects of tokens, errors and biases add up to the answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
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
from cellglass.circuits.heads import head_effects
from cellglass.circuits.propagation import effects
from cellglass.circuits.pruning import edge_scores, kept
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
        Activation of a feature, over the tokens at which the graph holds it; value of the answer; 0 of others.
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
    keys = [*of_graph, *sorted(key for key in totals if key.kind == "head")]
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
    there[len(of_graph) :] = True
    return Merged(
        keys, value, among @ graph.influence(), np.array([totals.get(key, 0.0) for key in keys]), there,
        whole.row.astype(np.int64), whole.col.astype(np.int64), whole.data.astype(np.float32),
        _at(passed, whole.row, whole.col).astype(np.float32), _at(stay, whole.row, whole.col) > 0,
        *_places(graph, member, place),
    )  # fmt: skip


def totals_of(asked: Asked) -> dict[Key, float]:
    """Return the total effect on the answer of every node that a merged graph of this cell can have."""
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
    for layer, heads in enumerate(head_effects(asked.frozen, targets).heads[..., 0].sum(2).tolist()):
        for head, value in enumerate(heads):
            add(Key("head", layer, head), value)
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


def _at(values: sp.csr_matrix, row: Array, column: Array) -> Array:
    """Return entries of a sparse matrix, (n,)."""
    return np.asarray(values[row, column], dtype=np.float64).ravel()

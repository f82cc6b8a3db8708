"""A graph folded for a picture: a feature at all tokens of a gene is one node, and so are a gene's tokens.

Weights of what is folded are added up. Tokens that are of no gene fold into one column, `PROMPT`, and errors into one
node a layer. A group of features (`cellglass.circuits.groups`) is one node, which stands where its most influential
member does; what its members do to each other is left out. Biases and what was left out are no nodes; what they add to
each answer is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from cellglass.circuits.graph import Graph
from cellglass.circuits.groups import groups_of
from cellglass.circuits.head_nodes import head_name
from cellglass.circuits.influence import normalised
from cellglass.circuits.names import PROMPT, feature_name

Array = np.ndarray[Any, Any]

ERRORS, HEADS = "errors", "heads"
_FED = 4


@dataclass(frozen=True)
class Fold:
    """One node of the folded graph.

    Attributes
    ----------
    kind : str
        ``"feature"``, ``"token"``, ``"error"``, ``"answer"`` or ``"head"``.
    layer : int
        -1 of tokens.
    column : str
        A gene, `PROMPT`, `ERRORS` or `HEADS`; "" of answers.
    is_gene : bool
        Whether the column is a gene's; a gene may be called as another column is.
    label : str
    members : tuple of int
        Nodes of the graph.
    is_group : bool
        Whether it is a group of features.
    called : str
        What a machine calls a feature; "" of one without a name, and of others; of a head its effect in words.
    """

    kind: str
    layer: int
    column: str
    is_gene: bool
    label: str
    members: tuple[int, ...]
    is_group: bool = False
    called: str = ""


@dataclass(frozen=True)
class Folded:
    """A folded graph.

    Attributes
    ----------
    nodes : list of Fold
        Features by layer, tokens by place, errors, answers.
    weights : numpy.ndarray, (n, n)
        ``weights[target, source]``.
    influence : numpy.ndarray, (n,)
        Of all members.
    constants : numpy.ndarray, (n_answers, 2)
        What biases, and what was left out, add to each answer.
    """

    nodes: list[Fold]
    weights: Array
    influence: Array
    constants: Array

    def edge_influence(self) -> Array:
        """Return how much each edge matters to the answers, (n, n), as pruning scores it."""
        weight = np.array([1.0 if node.kind == "answer" else 0.0 for node in self.nodes])
        return np.asarray(normalised(self.weights) * (self.influence + weight / max(1.0, weight.sum()))[:, None])


def fold(graph: Graph) -> Folded:
    """Return the folded graph."""
    named = {pair: one.name for one in groups_of(graph.about) for pair in one.members}
    homes = _homes(graph, named)
    groups: dict[tuple[Any, ...], list[int]] = {}
    for kind in ("feature", "token", "error", "answer"):
        for node in graph.of_kind(kind).tolist():
            groups.setdefault((kind, *_key(graph, kind, node, named, homes)), []).append(node)
    nodes = [_fold(graph, key, members) for key, members in groups.items()]
    row = np.repeat(np.arange(len(nodes)), [len(node.members) for node in nodes])
    column = np.array([member for node in nodes for member in node.members], dtype=np.int64)
    among = sp.csr_matrix((np.ones(len(row)), (row, column)), shape=(len(nodes), len(graph.nodes)))
    answers = graph.weights[graph.of_kind("answer")].astype(np.float64)
    told = [np.asarray(answers[:, graph.of_kind(kind)].sum(axis=1)).ravel() for kind in ("bias", "rest")]
    weights = (among @ graph.weights.astype(np.float64) @ among.T).toarray()
    np.fill_diagonal(weights, 0)
    return Folded(nodes, weights, among @ graph.influence(), np.stack(told, axis=1))


def with_heads(graph: Graph, folded: Folded, most: int) -> tuple[Folded, list[tuple[int, int, float]]]:
    """Return a folded graph with the heads of largest effect as nodes behind the others, and what they feed.

    What a head feeds are source, target and weight of edges, the strongest few of each head; of a graph that was not
    split by head its effect on the first answer. They are no part of the folded weights, which are whole without.
    """
    answers = [i for i, node in enumerate(folded.nodes) if node.kind == "answer"]
    heads = graph.heads
    if heads is None or not answers:
        return folded, []
    home = np.full(len(graph.nodes), -1)
    for i, node in enumerate(folded.nodes):
        home[list(node.members)] = i
    nodes, lines = list(folded.nodes), []
    for row in heads.strongest(most):
        layer, head, effect = (heads.table[name].iloc[row] for name in ("layer", "head", "effect"))
        if effect == 0:
            continue
        at = len(nodes)
        told = f"effect {effect:+.2g} over all paths that pass it"
        nodes.append(Fold("head", int(layer), HEADS, False, head_name(int(layer), int(head)), (), called=told))
        fed = heads.to[heads.to["head"] == row]
        sums = fed["weight"].groupby(home[fed["target"].to_numpy(dtype=np.int64)]).sum().drop(-1, errors="ignore")
        strongest = sums.index[np.argsort(-sums.abs().to_numpy(), kind="stable")][:_FED]
        lines += [(at, int(i), float(sums[i])) for i in strongest] or [(at, answers[0], float(effect))]
    more = len(nodes) - len(folded.nodes)
    weights = np.pad(folded.weights, ((0, more), (0, more)))
    return Folded(nodes, weights, np.pad(folded.influence, (0, more)), folded.constants), lines


def _homes(graph: Graph, named: dict[tuple[int, int], str]) -> dict[str, int]:
    """Return the most influential node of each group."""
    strength = graph.influence()
    found: dict[str, int] = {}
    for node in graph.of_kind("feature").tolist() if named else []:
        name = named.get((int(graph.nodes["layer"].iloc[node]), int(graph.nodes["feature"].iloc[node])))
        if name is not None and (name not in found or strength[node] > strength[found[name]]):
            found[name] = node
    return found


def _key(
    graph: Graph, kind: str, node: int, named: dict[tuple[int, int], str], homes: dict[str, int]
) -> tuple[Any, ...]:
    layer, place, feature = (int(graph.nodes[name].iloc[node]) for name in ("layer", "position", "feature"))
    if kind == "answer":
        return (node,)
    if kind == "error":
        return (layer,)
    name = named.get((layer, feature)) if kind == "feature" else None
    if name is not None:
        layer, place = (int(graph.nodes[column].iloc[homes[name]]) for column in ("layer", "position"))
    gene = graph.genes[place]
    column = (bool(gene), gene or PROMPT)
    return column if kind == "token" else (layer, feature_name(layer, feature) if name is None else name, *column)


def _fold(graph: Graph, key: Sequence[Any], members: list[int]) -> Fold:
    kind = str(key[0])
    if kind == "answer":
        layer, label = (graph.nodes[name].iloc[members[0]] for name in ("layer", "label"))
        return Fold(kind, int(layer), "", False, str(label), tuple(members))
    if kind == "error":
        return Fold(kind, int(key[1]), ERRORS, False, f"error L{key[1]}", tuple(members))
    is_gene, column = bool(key[-2]), str(key[-1])
    if kind == "token":
        count = f": {len(members)} token" + "s" * (len(members) > 1)
        prompt = PROMPT if graph.is_merged else PROMPT + count
        return Fold(kind, -1, column, is_gene, column if is_gene else prompt, tuple(members))
    many = f" ×{len(members)}" if len(members) > 1 else ""
    first = graph.nodes.iloc[members[0]]
    is_group = feature_name(int(key[1]), int(first["feature"])) != key[2]
    called = "" if is_group else str(first["label"])
    return Fold(kind, int(key[1]), column, is_gene, f"{key[2]}{many}", tuple(members), is_group, called)

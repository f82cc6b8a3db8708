"""The circuit of a class: tables of nodes and edges with their means over cells, and the graph of the means."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.circuits.graph import Graph
from cellglass.circuits.head_nodes import HeadNodes
from cellglass.circuits.names import OTHER, PROMPT
from cellglass.errors import InputError

Array = np.ndarray[Any, Any]

WITHOUT = ("read", "share", "features", "deletion")
"""Columns that a table of deletions has at least, beside ``gene``."""
LOST = ("lost", "lost_sd", "lost_share")
"""What `ClassCircuit.genes` tells of deletions."""


@dataclass(frozen=True)
class ClassCircuit:
    """The merged graphs of many cells of one label.

    Every mean is over units: cells, or donors, whose values are means over their cells. Of the other label's cells,
    which are asked the same, there are columns that begin with ``other_``; without another label there are none, nor a
    ``difference``.

    Attributes
    ----------
    nodes : pandas.DataFrame
        One row a node, its number in the index; tokens, features, errors, biases, what was left out, the answer, heads:

        ``kind``, ``layer``, ``number``, ``gene``
            As of `cellglass.circuits.classes.merging.Key`.
        ``name``, ``called``
            What a person reads; and what a machine calls a feature by what it fires on, or nothing.
        ``active``, ``share``
            Share of cells in which the node is in the graph, and in which it stays when the graph is pruned; of a gene
            in which the model reads it; of a head in which it is among the heads of largest effect.
        ``value``, ``value_sd``
            Activation of a feature over all its tokens; value of the answer; of a head the direct part of its effect.
        ``influence``, ``influence_sd``
            On the answer over all paths, without sign.
        ``effect``, ``effect_sd``
            Total effect on the answer, signed; of a head over all paths that pass it. In units of the answer.
        ``difference``, ``difference_se``
            Of the effect, between the class and the other label, and its standard error.
        ``genes``
            Of features: the genes at whose tokens they are most active, most first; of heads: those that they look at.
    edges : pandas.DataFrame
        One row an edge, by target and source:

        ``target``, ``source``
            Nodes. Targets are features, the answer and heads, whose weights add up to their effect.
        ``share``
            Of cells in which the edge stays when the graph is pruned.
        ``weight``, ``weight_sd``
            Direct effect, 0 in cells that do not have it. The mean weights of a target add up to its mean.
        ``influence``
            How much the edge matters to the answer.
        ``difference``, ``difference_se``
            Of the weight.
    about : dict
        What was asked of which cells, with the mean answer and the scores of the graph of the means (``bare``: without
        features), and with stability, faithfulness and groups where they were made. Plain values.
    seen : pandas.DataFrame
        ``target`` (head), ``source`` (token), ``weight``: the heads' mean effect by the gene that they look at.
    without : pandas.DataFrame
        What the answer loses with each gene's count at 0, where that was asked (`class_deletions`): one row a gene that
        the model reads in any cell, those with no node too, by falling size of ``features``:

        ``gene``, ``read``, ``share``
            Share of cells in which the model reads it, and in which it is among the genes that together have 0.8 of
            what passes through features.
        ``features``, ``features_sd``, ``out``, ``on``, ``errors``, ``tokens``, ``rest``, ``deletion``, ``deletion_sd``
            Through features (of these through those that go out, and that come on), what transcoders miss, tokens, and
            the rest, which add up to the whole loss, ``deletion``; see `cellglass.circuits.deletion`.
        ``other_share``, ``other_features``, ``other_deletion``, ``difference``, ``difference_se``
            The same of the other label's cells, and the difference of ``features``.
    """

    nodes: pd.DataFrame
    edges: pd.DataFrame
    about: dict[str, Any] = field(default_factory=dict)
    seen: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["target", "source", "weight"]))
    without: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["gene", *WITHOUT]))

    @property
    def has_other(self) -> bool:
        """Whether there are cells of another label."""
        return "difference" in self.nodes

    def told(self, **more: Any) -> ClassCircuit:
        """Return the same circuit with more in `about`."""
        return replace(self, about={**self.about, **more})

    def features(self, by: str = "effect") -> list[tuple[int, int]]:
        """Return layer and number of the features by falling size of their ``effect``, ``influence`` or ``difference``.

        InputError for another word, or a difference from no label.
        """
        known = ["effect", "influence", *(["difference"] if self.has_other else [])]
        if by not in known:
            raise InputError(f"features of this class circuit have no {by!r}; choose of {', '.join(known)}")
        some = self.nodes[self.nodes["kind"] == "feature"]
        order = np.argsort(-some[by].abs().to_numpy(), kind="stable")
        return list(zip(some["layer"].iloc[order].tolist(), some["number"].iloc[order].tolist(), strict=True))

    def genes(self, by: str = "effect") -> pd.DataFrame:
        """Return what is told of genes, index ``gene``, by falling size of a column.

        Where genes were deleted, ``lost``, ``lost_sd`` and ``lost_share`` are what that takes through features; genes
        that have no node are in ``without`` alone.
        """
        some = self.nodes[(self.nodes["kind"] == "token") & ~self.nodes["gene"].isin(["", OTHER])].set_index("gene")
        some = some[[name for name in some.columns if name in _OF_GENES]]
        if len(self.without):
            lost = self.without.set_index("gene")[["features", "features_sd", "share"]].reindex(some.index)
            some = some.assign(**{name: lost[own] for name, own in zip(LOST, lost, strict=True)})
        return some.iloc[np.argsort(-some[by].abs().to_numpy(), kind="stable")]

    def graph(self, *, other: bool = False) -> Graph:
        """Return the graph of the mean weights of the class, or of the other label.

        It is drawn, pruned, walked and written like that of one cell. Each gene is one token. A feature stands at the
        gene at whose tokens it is most active, and errors at the prompt. A path in it is one of the means, and not the
        mean of paths. Heads stand beside it, as in the graph of one cell, with share, spread and contrast; no edge is
        split by head. Features of the other label's cells alone are left out.
        """
        if other and not self.has_other:
            raise InputError("the class circuit is not held against another label; make it with against")
        prefix = "other_" if other else ""
        kinds, values = self.nodes["kind"], self.nodes[f"{prefix}value"]
        nodes = self.nodes[(kinds != "head") & ((kinds != "feature") | (values > 0))]
        tokens = nodes[nodes["kind"] == "token"]
        position = {name: i for i, name in enumerate(tokens["name"])}
        order = pd.concat([nodes[nodes["kind"] == kind] for kind in _ORDER])
        at = [_position(one, position) for one in order.to_dict("records")]
        n_layers = int(nodes["layer"].max()) + 1
        kind = order["kind"].to_numpy(dtype=object)
        table = pd.DataFrame(
            {
                "kind": kind,
                "layer": np.where(kind == "answer", n_layers, np.where(np.isin(kind, ["feature", "error"]),
                                                                       order["layer"], -1)),
                "position": at,
                "feature": np.where(kind == "feature", order["number"], -1),
                "value": np.where(np.isin(kind, ["feature", "answer"]), order[f"{prefix}value"], np.nan),
                "label": np.where(kind == "feature", order["called"], order["name"]),
            }
        )  # fmt: skip
        table.loc[table["kind"] == "answer", "label"] = str(self.about.get("answer_label", "answer"))
        place = np.full(len(self.nodes), -1)
        place[order.index] = np.arange(len(order))
        edges = self.edges[(self.edges[f"{prefix}weight"] != 0) & (kinds != "head").to_numpy()[self.edges["target"]]]
        weights = sp.csr_matrix(
            (edges[f"{prefix}weight"].to_numpy(dtype=np.float64), (place[edges["target"]], place[edges["source"]])),
            shape=(len(order), len(order)),
        )
        genes = [str(gene) for gene in tokens["gene"]]
        texts = [gene or PROMPT for gene in genes]
        about = {name: value for name, value in self.about.items() if not (other and name in _OF_CLASS)}
        heads = self._heads(prefix, place, {node: i for i, node in enumerate(tokens.index)}, len(order))
        return Graph(table, weights, np.ones(1), texts, genes, {**about, "merged": True}, heads)

    def heads(self, by: str = "effect") -> pd.DataFrame:
        """Return what is told of heads, index ``layer`` and ``head``, by falling size of a column."""
        some = self.nodes[self.nodes["kind"] == "head"]
        names = [name for name in some.columns if name in _OF_HEADS]
        order = np.argsort(-some[by].abs().to_numpy(), kind="stable")
        found = some.iloc[order].rename(columns={"number": "head"}).set_index(["layer", "head"])
        return found[names].rename(columns={"value": "direct"})

    def _heads(self, prefix: str, place: Array, token: Mapping[int, int], n: int) -> HeadNodes | None:
        """Return the heads of the graph of means; `place` is where each node stands in it, and `token` each token."""
        some = self.nodes[self.nodes["kind"] == "head"]
        if not len(some):
            return None
        own = {"layer": some["layer"], "head": some["number"], "effect": some[f"{prefix}effect"]}
        names = ["share", "effect_sd", "other_effect", "difference", "difference_se"]
        more = {"share": some["other_share"]} if prefix else {name: some[name] for name in names if name in some}
        direct = some["other_value" if prefix else "value"]
        table = pd.DataFrame({**own, "direct": direct, **more}).reset_index(drop=True)
        row = np.full(len(self.nodes), -1)
        row[some.index] = np.arange(len(some))
        rest = place[self.nodes.index[self.nodes["kind"] == "rest"][0]]
        column = np.where(place < 0, rest, place)
        read = self.edges[row[self.edges["target"]] >= 0]
        weight = read[f"{prefix}weight"].to_numpy(dtype=np.float64)
        weights = sp.csr_matrix((weight, (row[read["target"]], column[read["source"]])), shape=(len(some), n))
        at = [token[node] for node in self.seen["source"].tolist()]
        looked = self.seen[f"{prefix}weight"].to_numpy(dtype=np.float64)
        seen = sp.csr_matrix(
            (looked, (row[self.seen["target"].to_numpy(dtype=np.int64)], at)), shape=(len(some), len(token))
        )
        return HeadNodes(table, seen, weights)


_ORDER = ("feature", "error", "token", "bias", "rest", "answer")
_OF_CLASS = ("answer", "scores", "bare")
"""What `about` tells of the graph of the class alone, and not of the other label's."""
_OF_GENES = (
    *("share", "influence", "influence_sd", "effect", "effect_sd", "other_share", "other_effect", "difference"),
    "difference_se",
)
_OF_HEADS = ("share", "value", "effect", "effect_sd", "other_share", "other_effect", "difference", "difference_se",
             "genes")  # fmt: skip


def _position(node: Mapping[Hashable, Any], position: dict[str, int]) -> int:
    """Return the token that a node stands at in the graph of means."""
    if node["kind"] == "token":
        return position[node["name"]]
    if node["kind"] == "feature":
        return position[node["genes"][0]] if node["genes"] else 0
    return {"error": 0, "answer": len(position) - 1}.get(node["kind"], -1)

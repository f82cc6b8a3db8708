"""The circuit of a class: tables of nodes and edges with their means over cells, and the graph of the means."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.circuits.graph import Graph
from cellglass.circuits.names import OTHER, PROMPT
from cellglass.errors import InputError

Array = np.ndarray[Any, Any]


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
        ``name``
            What a person reads.
        ``active``, ``share``
            Share of cells in which the node is in the graph, and in which it stays when the graph is pruned; of a gene
            in which the model reads it.
        ``value``, ``value_sd``
            Activation of a feature over all its tokens; value of the answer.
        ``influence``, ``influence_sd``
            On the answer over all paths, without sign.
        ``effect``, ``effect_sd``
            Total effect on the answer, signed; of a head what it carries to it. In units of the answer.
        ``difference``, ``difference_se``
            Of the effect, between the class and the other label, and its standard error.
        ``genes``
            Of features: the genes at whose tokens they are most active, most first.
    edges : pandas.DataFrame
        One row an edge, by target and source:

        ``target``, ``source``
            Nodes. Targets are features and the answer.
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
    """

    nodes: pd.DataFrame
    edges: pd.DataFrame
    about: dict[str, Any] = field(default_factory=dict)

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
        """Return what is told of genes, index ``gene``, by falling size of a column."""
        some = self.nodes[(self.nodes["kind"] == "token") & ~self.nodes["gene"].isin(["", OTHER])]
        names = [name for name in some.columns if name in _OF_GENES]
        order = np.argsort(-some[by].abs().to_numpy(), kind="stable")
        return some.iloc[order].set_index("gene")[names]

    def graph(self, *, other: bool = False) -> Graph:
        """Return the graph of the mean weights of the class, or of the other label.

        It is drawn, pruned, walked and written like that of one cell. Each gene is one token. A feature stands at the
        gene at whose tokens it is most active, and errors at the prompt. A path in it is one of the means, and not the
        mean of paths. Heads are left out, since what they carry is told by the others already; so are features of the
        other label's cells alone.
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
                "label": np.where(kind == "feature", "", order["name"]),
            }
        )  # fmt: skip
        table.loc[table["kind"] == "answer", "label"] = str(self.about.get("answer_label", "answer"))
        place = np.full(len(self.nodes), -1)
        place[order.index] = np.arange(len(order))
        edges = self.edges[self.edges[f"{prefix}weight"] != 0]
        weights = sp.csr_matrix(
            (edges[f"{prefix}weight"].to_numpy(dtype=np.float64), (place[edges["target"]], place[edges["source"]])),
            shape=(len(order), len(order)),
        )
        genes = [str(gene) for gene in tokens["gene"]]
        texts = [gene or PROMPT for gene in genes]
        about = {name: value for name, value in self.about.items() if not (other and name in _OF_CLASS)}
        return Graph(table, weights, np.ones(1), texts, genes, {**about, "merged": True})


_ORDER = ("feature", "error", "token", "bias", "rest", "answer")
_OF_CLASS = ("answer", "scores", "bare")
"""What `about` tells of the graph of the class alone, and not of the other label's."""
_OF_GENES = (
    *("share", "influence", "influence_sd", "effect", "effect_sd", "other_share", "other_effect", "difference"),
    "difference_se",
)


def _position(node: Mapping[Hashable, Any], position: dict[str, int]) -> int:
    """Return the token that a node stands at in the graph of means."""
    if node["kind"] == "token":
        return position[node["name"]]
    if node["kind"] == "feature":
        return position[node["genes"][0]] if node["genes"] else 0
    return {"error": 0, "answer": len(position) - 1}.get(node["kind"], -1)

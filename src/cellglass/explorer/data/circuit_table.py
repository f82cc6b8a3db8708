"""What a circuit says first, as a table: the genes, features and heads of largest effect, with their names.

Of a class of cells with the standard deviation over cells, the share of cells, and the difference from the other label.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cellglass.circuits.classes.circuit import ClassCircuit
from cellglass.circuits.graph import Graph
from cellglass.circuits.head_nodes import head_name
from cellglass.circuits.names import feature_name
from cellglass.circuits.paths import total_effects
from cellglass.explorer.data.json import short

FIRST = 8
"""Rows of each part."""
COLUMNS = ("effect", "effect_sd", "share", "other_effect", "difference", "difference_se", "lost", "lost_sd")


def graph_table(graph: Graph) -> dict[str, list[dict[str, Any]]]:
    """Return the first genes, features and heads of a graph of one cell.

    Returns
    -------
    dict
        ``genes``, ``features``, ``heads``, ``without`` (genes by what a deletion takes through features, of a class):
        each a list of ``name``, ``called`` (by machine, of features), ``at`` (where a feature is active, or a head
        looks) and those of `COLUMNS` that there are.
    """
    if not len(graph.of_kind("answer")):
        return {"genes": [], "features": [], "heads": [], "without": []}
    effect = total_effects(graph)[:, 0]
    position = graph.nodes["position"].to_numpy()
    gene = [graph.genes[at] if at >= 0 else "" for at in position]
    table = graph.nodes.assign(effect=effect, gene=gene)
    genes = table[(table["kind"] == "token") & (table["gene"] != "")].groupby("gene", sort=False)["effect"].sum()
    some = table[table["kind"] == "feature"]
    features = some.groupby(["layer", "feature"], sort=False).agg(
        effect=("effect", "sum"), called=("label", "first"), at=("gene", _genes)
    )
    features.index = pd.Index([feature_name(*pair) for pair in features.index], dtype=object)
    rows = {"genes": _rows(genes.to_frame()), "features": _rows(features), "heads": [], "without": []}
    if graph.heads is not None:
        heads = graph.heads.table
        named = heads.assign(at=pd.Series([_looks_at(graph, row) for row in range(len(heads))], dtype=object))
        named.index = pd.Index([head_name(*pair) for pair in zip(heads["layer"], heads["head"], strict=True)])
        rows["heads"] = _rows(named)
    return rows


def class_table(circuit: ClassCircuit) -> dict[str, list[dict[str, Any]]]:
    """Return the first genes, features and heads of a class circuit, as `graph_table`; by size of the effect."""
    nodes = circuit.nodes.assign(at=circuit.nodes["genes"]).set_index("name")
    without = circuit.without.rename(
        columns={"features": "effect", "features_sd": "effect_sd", "other_features": "other_effect"}
    )
    return {
        "genes": _rows(circuit.genes()),
        "features": _rows(nodes[nodes["kind"] == "feature"]),
        "heads": _rows(nodes[nodes["kind"] == "head"]),
        "without": _rows(without.set_index("gene")) if len(without) else [],
    }


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    order = np.argsort(-table["effect"].abs().to_numpy(), kind="stable")[:FIRST]
    return [_row(str(name), one) for name, one in table.iloc[order].to_dict("index").items()]


def _row(name: str, one: Mapping[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"name": name, "called": str(one.get("called", "")), "at": list(one.get("at", []))}
    return found | {column: short(float(one[column])) for column in COLUMNS if column in one}


def _genes(names: pd.Series[Any]) -> list[str]:
    """Return the genes at whose tokens a feature is active, each once."""
    return [str(name) for name in dict.fromkeys(names) if name][:3]


def _looks_at(graph: Graph, row: int) -> list[str]:
    """Return the genes that a head looks at with most effect."""
    assert graph.heads is not None  # noqa: S101
    one = graph.heads.seen[row]
    gene = np.array(graph.genes, dtype=object)[one.indices]
    sums = pd.Series(one.data).groupby(gene).sum()
    sums = sums[sums.index != ""]
    return [str(name) for name in sums.index[np.argsort(-sums.abs().to_numpy(), kind="stable")][:3]]

"""What features are called, by machine: a table that lies beside transcoders, and its names on the nodes of graphs.

    features.csv    one row for each feature of each layer; `cellglass.evaluation.explain_features` writes it

Names are made by machine from what a feature fires on, and are marked so wherever they go: nobody has read them. This
file reads the table; it computes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellglass.circuits.graph import Graph
from cellglass.errors import InputError, one_line

FEATURES = "features.csv"
TEXTS = ("name", "named_by", "why", "genes", "source", "term", "label_column", "label")
"""Columns of texts, in which nothing is missing."""
MACHINE = "machine"
_AGAIN = "write it again: cellglass circuits features"

Names = Mapping[tuple[int, int], str]
"""Layer and feature -> name."""
Details = Mapping[tuple[int, int], Mapping[str, Any]]
"""Layer and feature -> some columns of the table."""
TOLD = ("why", "frequency", "genes", "source", "term", "null_q", "label_column", "label", "f1", "f1_null")
"""Columns that a graph carries of its features."""
MOST_TOLD = 200
"""Features of a graph of which they are carried, those of highest influence."""


def read_features(folder: Path | str) -> pd.DataFrame:
    """Return the table of features that lies in a folder of transcoders.

    Raises
    ------
    InputError
        There is none, or it is damaged.
    """
    path = Path(folder) / FEATURES
    if not path.is_file():
        raise InputError(f"{path}: features have not been explained; {_AGAIN}")
    try:
        # A gene may be called NA: of texts nothing is missing.
        blank = {name: [""] for name in pd.read_csv(path, nrows=0).columns if name not in TEXTS}
        table = pd.read_csv(
            path, keep_default_na=False, na_values=blank, dtype=dict.fromkeys(TEXTS, str), float_precision="round_trip"
        )
        table = table.astype({"layer": "int64", "feature": "int64"})
        missing = {"name", "interpretable"} - set(table.columns)
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: is damaged ({one_line(error)}); {_AGAIN}") from error
    if missing:
        raise InputError(f"{path}: has no column {sorted(missing)[0]!r}; {_AGAIN}")
    return table


def read_names(folder: Path | str) -> dict[tuple[int, int], str]:
    """Return the names of the features that have one; none where features have not been explained."""
    if not (Path(folder) / FEATURES).is_file():
        return {}
    table = read_features(folder)
    told = table[table["name"] != ""]
    return dict(zip(zip(told["layer"].tolist(), told["feature"].tolist(), strict=True), told["name"], strict=True))


def read_details(folder: Path | str) -> dict[tuple[int, int], dict[str, Any]]:
    """Return what is told of each feature that has a name, `TOLD`; nothing where features have not been explained."""
    if not (Path(folder) / FEATURES).is_file():
        return {}
    table = read_features(folder)
    told = table.loc[table["name"] != "", [name for name in TOLD if name in table]]
    where = table.loc[told.index, ["layer", "feature"]].itertuples(index=False, name=None)
    rows = ({str(name): value for name, value in row.items()} for row in told.to_dict("records"))
    return {(int(layer), int(feature)): row for (layer, feature), row in zip(where, rows, strict=True)}


def told_of(details: Details, features: Iterable[tuple[int, int]]) -> list[dict[str, Any]]:
    """Return what is told of some features as plain values, each with ``layer`` and ``feature``."""
    return [
        {"layer": layer, "feature": feature, **details[layer, feature]}
        for layer, feature in dict.fromkeys(features)
        if (layer, feature) in details
    ]


def explained(graph: Graph, details: Details) -> Graph:
    """Return a graph with ``about["explained"]``: what is told of its features, those of highest influence."""
    if not details:
        return graph
    strength, features = graph.influence(), graph.of_kind("feature")
    order = features[np.argsort(-strength[features], kind="stable")]
    pairs = dict.fromkeys(zip(*(graph.nodes[name].iloc[order].tolist() for name in ("layer", "feature")), strict=True))
    told = told_of(details, list(pairs)[:MOST_TOLD])
    return replace(graph, about={**graph.about, "explained": told}) if told else graph


def named(graph: Graph, names: Names) -> Graph:
    """Return a graph whose features have their names as labels."""
    if not names:
        return graph
    nodes = graph.nodes.copy()
    for node in graph.of_kind("feature").tolist():
        one = int(nodes["layer"].iloc[node]), int(nodes["feature"].iloc[node])
        nodes.loc[nodes.index[node], "label"] = names.get(one, "")
    return replace(graph, nodes=nodes)

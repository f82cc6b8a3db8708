"""What features are called, by machine: a table that lies beside transcoders, and its names on the nodes of graphs.

    features.csv    one row for each feature of each layer; `cellglass.evaluation.explain_features` writes it

Names are made by machine from what a feature fires on, and are marked so wherever they go: nobody has read them. This
file reads the table; it computes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

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


def named(graph: Graph, names: Names) -> Graph:
    """Return a graph whose features have their names as labels."""
    if not names:
        return graph
    nodes = graph.nodes.copy()
    for node in graph.of_kind("feature").tolist():
        one = int(nodes["layer"].iloc[node]), int(nodes["feature"].iloc[node])
        nodes.loc[nodes.index[node], "label"] = names.get(one, "")
    return replace(graph, nodes=nodes)

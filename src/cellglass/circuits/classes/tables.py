"""From the merged graphs of cells to tables: which nodes a class circuit has, and its means, in passes over files.

What a class circuit has no node for is still in it: weights from other features go to what was left out, from other
genes to one token `OTHER`, so that the mean weights into each node add up to its mean. What is held is two sides of
arrays of nodes x nodes, however many cells there are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.circuits.classes.merging import Key, Merged
from cellglass.circuits.classes.sums import Contrast
from cellglass.circuits.head_nodes import head_name
from cellglass.circuits.meanings import Names
from cellglass.circuits.names import OTHER, PROMPT, feature_name

Array = np.ndarray[Any, Any]

TOP_GENES = 3


class Part(NamedTuple):
    """One cell: its unit, a donor or itself; 0 for the class and 1 for the other; and its merged graph."""

    unit: str
    side: int
    merged: Merged


Parts = Callable[[], Iterable[Part]]
"""Gives all cells anew, those of a unit one after the other."""

NODES = ("active", "share", "value", "influence", "effect")
EDGES = ("share", "weight", "influence")


class Chosen(NamedTuple):
    """Nodes of a class circuit: tokens, features, errors, biases, what was left out, answer, heads."""

    keys: list[Key]
    place: Mapping[Key, int]

    def of_kind(self, kind: str) -> Array:
        """Return the numbers of the nodes of a kind."""
        return np.array([i for i, key in enumerate(self.keys) if key.kind == kind], dtype=np.int64)

    @property
    def rows(self) -> Array:
        """Nodes that have a row: features and the answer."""
        return np.concatenate([self.of_kind("feature"), self.of_kind("answer")])

    @property
    def targets(self) -> Array:
        """Nodes that edges lead to: those that have a row, then heads."""
        return np.concatenate([self.rows, self.of_kind("head")])


def choose(parts: Parts, features: int, genes: int) -> Chosen:
    """Return the nodes: of features and genes those whose mean influence, of cells of either side, is largest."""
    sums: dict[Key, list[float]] = {}
    cells = [0, 0]
    for part in parts():
        cells[part.side] += 1
        for key, value in zip(part.merged.keys, part.merged.influence.tolist(), strict=True):
            sums.setdefault(key, [0.0, 0.0])[part.side] += value
    strength = {key: max(total / max(1, n) for total, n in zip(both, cells, strict=True)) for key, both in sums.items()}
    order = sorted(sums, key=lambda key: (-strength[key], key))
    some = [key for key in order if key.kind == "feature"][:features]
    named = [key for key in order if key.kind == "token" and key.gene][:genes]
    keys = [Key("token"), *named, Key("token", gene=OTHER), *sorted(some)]
    for kind in ("error", "bias", "rest", "answer", "head"):
        keys += sorted(key for key in order if key.kind == kind)
    return Chosen(keys, {key: i for i, key in enumerate(keys)})


def summed(parts: Iterable[Part], chosen: Chosen) -> Contrast:
    """Return means over units of nodes and of edges; see `arrays_of` for the names."""
    found = Contrast()
    for part in parts:
        found.add(part.unit, part.side, arrays_of(part.merged, chosen))
    found.close()
    return found


def arrays_of(merged: Merged, chosen: Chosen) -> dict[str, Array]:
    """Return one cell's values in a class circuit's order.

    ``node NAME``, (n,), of `NODES`; ``edge NAME``, (targets, n), of `EDGES`; ``at``, (features, tokens), where features
    are active; ``seen``, (heads, tokens), where heads look.
    """
    n, rest, other = len(chosen.keys), chosen.place[Key("rest")], chosen.place[Key("token", gene=OTHER)]
    own = np.array(
        [chosen.place.get(key, {"feature": rest, "token": other}.get(key.kind, -1)) for key in merged.keys],
        dtype=np.int64,
    )
    named = np.array([key in chosen.place for key in merged.keys])
    found = {"node active": np.bincount(own, minlength=n) > 0, "node share": np.zeros(n, dtype=bool)}
    found["node share"][own[merged.kept & named]] = True
    for name in ("value", "influence", "effect"):
        found[f"node {name}"] = np.bincount(own, weights=getattr(merged, name), minlength=n)
    rows = chosen.targets
    row = np.full(n, -1)
    row[rows] = np.arange(len(rows))
    # Edges into features that the class circuit has no node for are dropped; their sources keep the others.
    there = named[merged.target]
    flat = row[own[merged.target[there]]] * n + own[merged.source[there]]
    shape = (len(rows), n)
    for name, values in (("weight", merged.weight), ("influence", merged.passed), ("share", merged.stays)):
        total = np.bincount(flat, weights=values[there].astype(np.float64), minlength=shape[0] * n).reshape(shape)
        found[f"edge {name}"] = total > 0 if name == "share" else total
    features, tokens = chosen.of_kind("feature"), chosen.of_kind("token")
    feature, token = own[merged.where[:, 0]], own[merged.where[:, 1]]
    some = named[merged.where[:, 0]]
    at = np.bincount((feature[some] - features[0]) * len(tokens) + token[some], weights=merged.active[some],
                     minlength=len(features) * len(tokens)) if len(features) else np.empty(0)  # fmt: skip
    found["at"] = at.reshape(len(features), len(tokens))
    heads = chosen.of_kind("head")
    pairs = own[merged.at].reshape(-1, 2) - [heads.min(initial=n), 0]
    seen = np.bincount(pairs[:, 0] * len(tokens) + pairs[:, 1], weights=merged.seen, minlength=len(heads) * len(tokens))
    found["seen"] = seen.reshape(len(heads), len(tokens))
    return found


def node_table(found: Contrast, chosen: Chosen, names: Names | None = None) -> pd.DataFrame:
    """Return one row a node; see `ClassCircuit`. `names` are what a machine calls features."""
    one, other = found.sides
    table = pd.DataFrame(
        {
            "kind": [key.kind for key in chosen.keys],
            "layer": [key.layer for key in chosen.keys],
            "number": [key.number for key in chosen.keys],
            "gene": [key.gene for key in chosen.keys],
            "name": [name_of(key) for key in chosen.keys],
            "called": [
                (names or {}).get((key.layer, key.number), "") if key.kind == "feature" else "" for key in chosen.keys
            ],
        }
    )
    for name in NODES:
        table[name] = one.mean[f"node {name}"]
        if name in ("value", "influence", "effect"):
            table[f"{name}_sd"] = one.sd(f"node {name}")
    genes: list[list[str]] = [[] for _ in chosen.keys]
    tokens = chosen.of_kind("token")
    for node, row in zip(chosen.of_kind("feature"), one.mean["at"], strict=True):
        order = np.argsort(-row, kind="stable")[:TOP_GENES]
        genes[node] = [table["name"].iloc[tokens[i]] for i in order if row[i] > 0]
    for node, row in zip(chosen.of_kind("head"), one.mean["seen"], strict=True):
        order = np.argsort(-np.abs(row), kind="stable")[:TOP_GENES]
        genes[node] = [table["name"].iloc[tokens[i]] for i in order if row[i] != 0]
    table["genes"] = genes
    if other.n:
        for name in NODES[1:]:
            table[f"other_{name}"] = other.mean[f"node {name}"]
        table["difference"], table["difference_se"] = found.difference("node effect")
    return table


def edge_table(found: Contrast, chosen: Chosen) -> pd.DataFrame:
    """Return one row an edge that is there in any cell, by target and source; see `ClassCircuit`."""
    one, other = found.sides
    weight = one.mean["edge weight"]
    there = (one.mean["edge influence"] != 0) | (weight != 0)
    if other.n:
        there |= (other.mean["edge influence"] != 0) | (other.mean["edge weight"] != 0)
    row, source = np.nonzero(there)
    columns: dict[str, Array] = {"target": chosen.targets[row], "source": source}
    for name in EDGES:
        columns[name] = one.mean[f"edge {name}"][there]
    columns["weight_sd"] = one.sd("edge weight")[there]
    if other.n:
        for name in EDGES:
            columns[f"other_{name}"] = other.mean[f"edge {name}"][there]
        difference, error = found.difference("edge weight")
        columns["difference"], columns["difference_se"] = difference[there], error[there]
    table = pd.DataFrame(columns)
    return _short(table)


def seen_table(found: Contrast, chosen: Chosen) -> pd.DataFrame:
    """Return one row for each head and gene that it looks at in any cell; see `ClassCircuit`."""
    one, other = found.sides
    tokens, heads = chosen.of_kind("token"), chosen.of_kind("head")
    mean = one.mean["seen"]
    there = mean != 0
    if other.n:
        there |= other.mean["seen"] != 0
    i, j = np.nonzero(there)
    columns: dict[str, Array] = {"target": heads[i], "source": tokens[j], "weight": mean[there]}
    if other.n:
        columns["other_weight"] = other.mean["seen"][there]
    return _short(pd.DataFrame(columns))


def _short(table: pd.DataFrame) -> pd.DataFrame:
    """Return edges whose numbers come back from JSON with the same bits."""
    for name in table.columns[2:]:
        table[name] = table[name].astype(np.float32)
    return table


def name_of(key: Key) -> str:
    """Return what a person reads."""
    if key.kind == "token":
        return key.gene or PROMPT
    of_layer = f"of layer {key.layer}" if key.layer >= 0 else "of norms and of the whole"
    return {
        "feature": feature_name(key.layer, key.number),
        "error": f"errors {of_layer}",
        "bias": f"biases {of_layer}",
        "rest": "features left out",
        "answer": "answer",
        "head": head_name(key.layer, key.number),
    }[key.kind]


def only(parts: Parts, units: set[str], side: int = 0) -> Iterator[Part]:
    """Yield the cells of one side that are of some units, as if they were of the class."""
    yield from (part._replace(side=0) for part in parts() if part.side == side and part.unit in units)

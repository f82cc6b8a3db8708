"""A graph of effects as the page reads it: nodes and edges of most influence, sums of the rest, paths in words, scores.

Each row of a graph adds up to its target; what the page does not get is told, so that the parts it shows still do:

    total = weights of the edges that are listed + biases + what the graph left out + ``more``

Names and numbers come from a file; all of it is turned into plain text and numbers, and what is neither is left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from cellglass.circuits.graph import Graph
from cellglass.circuits.meanings import TEXTS as TEXTS_OF_FEATURES
from cellglass.circuits.meanings import TOLD
from cellglass.circuits.names import feature_name, token_names
from cellglass.circuits.paths import Path, path_lines, strongest_paths, total_effects
from cellglass.explorer.data.circuit_heads import heads_view
from cellglass.explorer.data.json import short, shorts

Array = np.ndarray[Any, Any]

MOST_NODES, MOST_EDGES, MOST_PATHS = 4000, 60_000, 40
MOST_FOR_PATHS = 4000
"""Features and errors of a graph in which paths are looked for; of a larger one, its strongest."""
MOST_ANSWERS = 20
TEXTS = ("title", "model", "cell", "cells", "target", "against", "fingerprint")
CURVE = ("share", "random", "random_low", "random_high")


def graph_view(graph: Graph) -> dict[str, Any]:
    """Return what the page shows of a graph, as plain values.

    Returns
    -------
    dict
        ``about`` (see `asked`), ``layers``, ``tokens``, ``genes``, ``names`` (of tokens, no two alike);
        ``nodes``: columns ``kind``, ``layer``, ``position``, ``feature``, ``value``, ``label``, ``influence``;
        ``total``, ``bias``, ``rest`` and ``more`` of each node's row, and ``more_in`` and ``more_out``, the numbers of
        edges that are not listed; ``effects``: over all paths, a list for each answer;
        ``edges``: columns ``source``, ``target``, ``weight``, ``score``, by falling score (its influence);
        ``answers``: node and weight; ``paths`` of each answer; ``scores``, ``curve``, ``checks``, ``groups``;
        ``heads``: as `heads_view` has them; ``explained``: by name of a feature, what is known of it;
        ``of``: how many features, errors and edges the graph has, and how many there were before it was pruned.
    """
    strength, kind = graph.influence(), graph.nodes["kind"].to_numpy()
    shown = _shown(kind, strength)
    new = np.full(len(kind), -1, dtype=np.int64)
    new[shown] = np.arange(len(shown))
    edges, sums = _edges(graph, shown, new)
    answers = graph.of_kind("answer")[:MOST_ANSWERS]
    table = graph.nodes.iloc[shown]
    return {
        "about": asked(graph.about),
        "layers": int(graph.nodes["layer"].max() if len(graph.nodes) else 0),
        "tokens": list(graph.tokens),
        "genes": list(graph.genes),
        "names": token_names(graph),
        "nodes": {
            "kind": table["kind"].tolist(),
            **{name: table[name].tolist() for name in ("layer", "position", "feature")},
            "value": shorts(table["value"], 5),
            "label": table["label"].tolist(),
            "influence": shorts(strength[shown]),
            **sums,
        },
        "effects": [shorts(column) for column in total_effects(graph)[shown][:, : len(answers)].T],
        "edges": edges,
        "answers": [{"node": int(new[node]), "weight": number(w)} for node, w in _answers(graph)],
        "paths": _paths(graph, shown, answers),
        "scores": scores(graph.about) or _scored(graph),
        "curve": curve(graph.about),
        "heads": heads_view(graph, new),
        "checks": checks(graph.about),
        "groups": groups(graph.about),
        "explained": explained(graph.about),
        "of": _of(graph),
    }


def asked(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was asked of what, as texts, and the answer."""
    texts = {name: _text(about.get(name)) for name in TEXTS}
    if not texts["cell"] and _text(about.get("class")):
        texts["cell"] = f"cells of {_text(about['class'])}"
    made = about.get("transcoders")
    said = (
        ", ".join(f"{_text(name)} {_text(made[name])}" for name in made if _text(made[name]))
        if isinstance(made, dict)
        else _text(made)
    )
    return {**texts, "transcoders": said, "answer": number(about.get("answer"))}


def scores(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the scores that a graph carries beside their controls: the graph, it without features, and others."""
    found = []
    for name, key in (("graph", "scores"), ("bare", "bare")):
        one = about.get(key)
        if isinstance(one, dict):
            found.append({"of": name, **_score(one)})
    more = about.get("controls")
    for one in more if isinstance(more, list) else []:
        if isinstance(one, dict) and one.get("of") not in ("graph", "bare"):
            found.append({"of": _text(one.get("of")), **_score(one)})
    return found


def curve(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rows of `cellglass.circuits.faithfulness_curve` that a graph carries as ``about["faithfulness"]``."""
    return [
        {"test": _text(row.get("test")), "run": _text(row.get("run")), "size": number(row.get("size"))}
        | {name: number(row.get(name)) for name in CURVE}
        for row in _records(about, "faithfulness")
        if (number(row.get("size")) or 0) >= 1 and number(row.get("share")) is not None
    ]


def checks(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return the table of genes that a graph carries: the names of its columns, and a row for each gene."""
    rows = _records(about, "genes")
    columns = [str(name) for name in rows[0] if name != "gene"] if rows else []
    return {
        "columns": columns,
        "rows": {_text(row.get("gene")): [number(row.get(name)) for name in columns] for row in rows},
    }


def groups(about: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the groups that a graph carries as ``about["groups"]``: names, and layer and number of each feature."""
    found = []
    for one in _records(about, "groups"):
        members = one.get("members")
        pairs = [pair for pair in members if _is_feature(pair)] if isinstance(members, list) else []
        if _text(one.get("name")) and pairs:
            found.append({"name": _text(one["name"]), "features": pairs})
    return found


def explained(about: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return what a graph carries of features that were explained, by their names, as texts and numbers."""
    found = {}
    for row in _records(about, "explained"):
        layer, feature = row.get("layer"), row.get("feature")
        if isinstance(layer, int) and isinstance(feature, int):
            texts = {name: _text(row.get(name)) for name in TOLD if name in TEXTS_OF_FEATURES}
            numbers_of = {name: number(row.get(name)) for name in TOLD if name not in TEXTS_OF_FEATURES}
            found[feature_name(layer, feature)] = texts | numbers_of
    return found


def _is_feature(pair: Any) -> bool:
    return isinstance(pair, list) and len(pair) == 2 and all(type(part) is int and part >= 0 for part in pair)


def strongest(graph: Graph, most: int) -> Array:
    """Return the nodes of a graph but for features and errors beyond the `most` of highest influence, ascending."""
    strength = graph.influence()
    some = graph.of_kind("feature", "error")
    some = some[np.argsort(-strength[some], kind="stable")[:most]]
    return np.sort(np.concatenate([some, graph.of_kind("token", "bias", "rest", "answer")]))


def number(value: Any) -> float | int | None:
    """Return a number with few digits, or None for what is none."""
    return short(value, 5) if isinstance(value, int | float) and not isinstance(value, bool) else None


def numbers(values: Any) -> list[float | int | None]:
    """Return the numbers of a list."""
    return [number(value) for value in values]


def _shown(kind: Array, strength: Array) -> Array:
    """Return the nodes that the page gets, ascending: answers, then those of most influence; no biases."""
    order = np.lexsort((-strength, kind != "answer"))
    order = order[~np.isin(kind[order], ["bias", "rest"])]
    return np.sort(order[:MOST_NODES])


def _edges(graph: Graph, shown: Array, new: Array) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the edges that the page gets, and what the rows of nodes hold beside them."""
    score = graph.edge_influence()[shown][:, shown].tocoo()
    some = np.lexsort((score.col, score.row, -score.data))[:MOST_EDGES]
    some = some[score.data[some] > 0]
    target, source = score.row[some], score.col[some]
    weights = graph.weights.astype(np.float64)
    weight = np.asarray(weights[shown[target], shown[source]]).ravel() if len(some) else np.empty(0)
    rows = weights[shown]
    total = np.asarray(rows.sum(axis=1)).ravel()
    bias, rest = (np.asarray(rows[:, graph.of_kind(kind)].sum(axis=1)).ravel() for kind in ("bias", "rest"))
    listed = np.bincount(target, weight, len(shown))
    told = graph.of_kind("feature", "error", "token")
    among = weights[:, told].tocsr()
    among.eliminate_zeros()
    n_in = np.diff(among.indptr)[shown] - np.bincount(target, minlength=len(shown))
    n_out = np.bincount(told[among.indices], minlength=len(new))[shown] - np.bincount(source, minlength=len(shown))
    return (
        {
            "source": source.tolist(), "target": target.tolist(), "weight": shorts(weight),
            "score": shorts(score.data[some]),
        },
        {
            "total": shorts(total, 5), "bias": shorts(bias), "rest": shorts(rest),
            "more": shorts(total - bias - rest - listed), "more_in": n_in.tolist(), "more_out": n_out.tolist(),
        },
    )  # fmt: skip


def _paths(graph: Graph, shown: Array, answers: Array) -> list[list[dict[str, Any]]]:
    kept = strongest(graph, MOST_FOR_PATHS)
    new = np.full(len(graph.nodes), -1, dtype=np.int64)
    new[shown] = np.arange(len(shown))
    place, graph = new[kept], graph.take(kept)
    found = []
    for number in range(len(answers)):
        paths = strongest_paths(graph, MOST_PATHS, answer=number)
        found.append([_path(one, line, place) for one, line in zip(paths, path_lines(graph, paths), strict=True)])
    return found


def _path(path: Path, line: str, place: Array) -> dict[str, Any]:
    nodes = [*path.sources, *path.features, path.answer]
    return {"line": line, "nodes": [int(i) for i in place[nodes] if i >= 0], "effect": short(path.effect)}


def _of(graph: Graph) -> dict[str, Any]:
    before = graph.about.get("pruning")
    before = before if isinstance(before, dict) else {}
    told = np.isin(graph.weights.indices, graph.of_kind("feature", "error", "token"))
    return {
        **{f"{kind}s": len(graph.of_kind(kind)) for kind in ("feature", "error", "token")},
        "edges": int((told & (graph.weights.data != 0)).sum()),
        "before": {name: number(before.get(name)) for name in ("features", "errors")} if before else None,
    }


def _scored(graph: Graph) -> list[dict[str, Any]]:
    """Return the scores of a graph that carries none; in a pruned one they would say nothing."""
    if "pruning" in graph.about or not len(graph.of_kind("answer")):
        return []
    return [{"of": name, **_score(one.scores()._asdict())} for name, one in (("graph", graph), ("bare", graph.bare()))]


def _score(one: Mapping[str, Any]) -> dict[str, Any]:
    names = ("replacement", "replacement_sd", "completeness", "completeness_sd", "n")
    return {name: number(one.get(name)) for name in names}


def _answers(graph: Graph) -> list[tuple[int, float]]:
    both = zip(graph.of_kind("answer").tolist(), graph.answer_weights.tolist(), strict=True)
    return list(both)[:MOST_ANSWERS]


def _records(about: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    held = about.get(name)
    return [row for row in held if isinstance(row, dict)] if isinstance(held, list) else []


def _text(value: Any) -> str:
    if isinstance(value, float):
        return str(short(value)) if math.isfinite(value) else ""
    return str(value) if isinstance(value, str | int) else ""

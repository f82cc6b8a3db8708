r"""The strongest paths from tokens through features to an answer, in words.

With W the weights (rows: targets) and a feature's activation v, the path s -> f_1 -> ... -> f_k -> answer carries

    W[f_1, s] * W[f_2, f_1] / v_1 * ... * W[answer, f_k] / v_k

since a feature passes on in proportion what it is given. So all paths of a source add up to its total effect
(`cellglass.circuits.propagation`), and the paths of all tokens, errors, biases and what was left out to the answer. The
tokens of a gene are one source. Paths are found best first: what a path can still come to is known from the strongest
way down from each feature, so no other path is stronger than those that are returned.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cellglass.circuits.graph import Graph, NodeKind
from cellglass.circuits.names import feature_name, source_groups, token_names
from cellglass.errors import InputError, listed

Array = np.ndarray[Any, Any]


class Path(NamedTuple):
    """One way from a source to an answer.

    Attributes
    ----------
    source : str
        A gene, or another token; or the label of an error or a bias.
    sources : tuple of int
        Its nodes.
    features : tuple of int
        Nodes passed, from the source on; none of a direct path.
    answer : int
        Node.
    effect : float
        What it carries, in units of the answer.
    share : float
        Of the answer's value; NaN where that is 0.
    """

    source: str
    sources: tuple[int, ...]
    features: tuple[int, ...]
    answer: int
    effect: float
    share: float


def total_effects(graph: Graph) -> Array:
    """Return the sums over all paths from every node to every answer, float64 (n_nodes, n_answers).

    Of a feature, what goes through it. In a graph with all active features and errors these are the total effects of
    `cellglass.circuits.propagation`; else what was left out ends paths.
    """
    columns, answers = graph.weights.astype(np.float64).tocsc(), graph.of_kind("answer")
    features, layer = graph.of_kind("feature"), graph.nodes["layer"].to_numpy()
    value = graph.nodes["value"].to_numpy(dtype=np.float64)
    gain = np.zeros((len(graph.nodes), len(answers)))
    gain[answers, np.arange(len(answers))] = 1
    for one in np.unique(layer[features])[::-1]:
        here = features[layer[features] == one]
        gain[here] = (columns[:, here].T @ gain) / value[here, None]
    return np.asarray(columns.T @ gain)


def strongest_paths(
    graph: Graph, top: int = 10, *, answer: str | int = 0, kinds: Sequence[NodeKind] = ("token",)
) -> list[Path]:
    """Return the paths that carry most, by size of effect.

    Parameters
    ----------
    graph
    top
        How many.
    answer
        The number of the answer among the graph's, or its label.
    kinds
        Where paths begin; errors, biases and what was left out (``rest``) can be asked for too.

    Raises
    ------
    InputError
        An answer that the graph has not.
    """
    place, groups = _answer(graph, answer), _sources(graph, kinds)
    features = graph.of_kind("feature")
    rows = graph.weights[np.append(features, place)].astype(np.float64)  # the answer's row is the last
    gain = rows[:, features].toarray() / graph.nodes["value"].to_numpy(dtype=np.float64)[features]
    if not groups or top < 1:
        return []
    group = np.repeat(np.arange(len(groups)), [len(nodes) for _, nodes in groups])
    member = np.concatenate([nodes for _, nodes in groups])
    among = sp.csr_matrix((np.ones(len(member)), (member, group)), shape=(len(graph.nodes), len(groups)))
    given = (rows @ among).toarray()  # what each feature, and the answer, gets of each source directly
    best = _best(gain, given, graph.nodes["layer"].to_numpy()[features])
    value = float(graph.nodes["value"].iloc[place])
    found: list[Path] = []
    order = count()
    # A path under way: what it can come to, negative; the row that it stands at; what it has carried; its features;
    # its source, or -1 as long as it has none.
    under_way: list[tuple[float, int, int, float, tuple[int, ...], int]] = [
        (-math.inf, next(order), len(features), 1.0, (), -1)
    ]
    while under_way and len(found) < top:
        _, _, row, carried, passed, source = heapq.heappop(under_way)
        if source >= 0:
            name, nodes = groups[source]
            share = carried / value if value and math.isfinite(value) else math.nan
            found.append(Path(name, tuple(nodes), passed, place, carried, share))
            continue
        ends, ways = carried * given[row], carried * gain[row]
        reach = np.concatenate([np.abs(ends), np.abs(ways) * best])
        for one in np.argsort(-reach, kind="stable")[:top].tolist():
            if reach[one] == 0:
                break
            if one < len(ends):
                heapq.heappush(under_way, (-reach[one], next(order), row, float(ends[one]), passed, one))
            else:
                feature = one - len(ends)
                on = (int(features[feature]), *passed)
                heapq.heappush(under_way, (-reach[one], next(order), feature, float(ways[feature]), on, -1))
    return found


def path_lines(graph: Graph, paths: Sequence[Path]) -> list[str]:
    """Return each path in words: ``CD79A -> L1/153 -> B cell: +0.42 (12 % of the answer)``.

    Where a feature sits at another token than the path comes from, that token is named: ``L2/7 at CD3D``. Not so in
    the graph of a class of cells, where a feature is that at all tokens. What a machine calls a feature stands in
    brackets: ``L2/7 [fires on CD3D]``.
    """
    names = token_names(graph)
    return [_line(graph, path, names) for path in paths]


def _line(graph: Graph, path: Path, names: Sequence[str]) -> str:
    nodes, stops = graph.nodes, [path.source]
    here = {int(nodes["position"].iloc[node]) for node in path.sources}
    for node in path.features:
        place = int(nodes["position"].iloc[node])
        name = feature_name(int(nodes["layer"].iloc[node]), int(nodes["feature"].iloc[node]))
        called = str(nodes["label"].iloc[node])
        name = f"{name} [{called}]" if called else name
        stops.append(name if here == {place} or graph.is_merged else f"{name} at {names[place]}")
        here = {place}
    stops.append(str(nodes["label"].iloc[path.answer]))
    share = "" if math.isnan(path.share) else f" ({_percent(path.share)} of the answer)"
    return f"{' -> '.join(' '.join(stop.split()) for stop in stops)}: {path.effect:+.3g}{share}"


def _percent(share: float) -> str:
    percent = 100 * share
    return f"{percent:.0f} %" if abs(percent) >= 10 else f"{percent:.1f} %"


def _best(gain: Array, given: Array, layer: Array) -> Array:
    """Return the most that a path can carry to each feature from any source, (n_features,)."""
    best = np.zeros(len(layer))
    for one in np.unique(layer):
        here = np.flatnonzero(layer == one)
        before = (np.abs(gain[here]) * best).max(axis=1, initial=0)
        best[here] = np.maximum(np.abs(given[here]).max(axis=1), before)
    return best


def _sources(graph: Graph, kinds: Sequence[NodeKind]) -> list[tuple[str, list[int]]]:
    groups = list(source_groups(graph).items()) if "token" in kinds else []
    names = token_names(graph)
    for kind in kinds:
        for node in graph.of_kind(kind).tolist() if kind in ("error", "bias", "rest") else []:
            label = str(graph.nodes["label"].iloc[node])
            if kind == "error":
                layer, place = (int(graph.nodes[column].iloc[node]) for column in ("layer", "position"))
                label = f"error of layer {layer} at {names[place]}"
            groups.append((label, [node]))
    return groups


def _answer(graph: Graph, answer: str | int) -> int:
    answers = graph.of_kind("answer").tolist()
    labels = graph.nodes["label"].iloc[answers].tolist()
    if answer in labels:
        return int(answers[labels.index(answer)])
    if isinstance(answer, int) and 0 <= answer < len(answers):
        return int(answers[answer])
    raise InputError(f"the graph has no answer {answer!r}; it has: {listed(labels)}")

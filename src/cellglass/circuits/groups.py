r"""Groups of features (supernodes): those wired alike fold into one node, found by a rule or given by hand.

Of features i and j, at all tokens, with W the weights (rows: targets) and N the same with rows whose sizes add up to 1,

    alike(i, j) = mean of  cosine of W[i, sources] and W[j, sources]      what they read
                           cosine of N[targets, i] and N[targets, j]      what reads them
                           cosine of their gene profiles                  where these are given

over those of the three that both have. Groups are the clusters of average linkage (UPGMA; Sokal & Michener 1958) with
distance 1 - alike, cut where a cluster's mean likeness falls below a threshold. Features more than `span` layers apart
never share a group. Sources are tokens, by gene, features and errors.

The weight between groups is the sum of their members' weights, exactly; what members of one group do to each other is
`inner`. With `with_groups` groups are kept in ``about["groups"]``: pictures and Neuronpedia's format show them then.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from cellglass.circuits.graph import Graph
from cellglass.circuits.influence import normalised
from cellglass.circuits.names import OTHER, PROMPT, feature_name, feature_of, is_feature_name
from cellglass.errors import InputError, listed

Array = np.ndarray[Any, Any]
Feature = tuple[int, int]

ALIKE = 0.7
"""Mean likeness down to which features are one group."""
_APART = 1e3
_NAMED = 2
"""Genes that an automatic name has."""


class Group(NamedTuple):
    """Features that are one node.

    Attributes
    ----------
    name : str
    members : tuple of (int, int)
        Layer and number of each, ascending.
    """

    name: str
    members: tuple[Feature, ...]


def find_groups(
    graph: Graph, *, alike: float = ALIKE, span: int = 1, profiles: pd.DataFrame | None = None
) -> list[Group]:
    """Return the groups of two features or more that are wired alike; see the head of this file.

    Parameters
    ----------
    graph
        Of a cell or of a class, best one that is not pruned.
    alike
        The threshold, 0 to 1: lower makes fewer and larger groups.
    span
        Layers that members may be apart; 0 for groups of one layer.
    profiles
        One row a feature, index layer and number, one column a gene: what the feature is about. Features without a row
        are held against others by their wiring alone.

    Returns
    -------
    list of Group
        By falling size of what they do to the first answer directly; named after their lowest layer and the genes that
        they read most from, as ``L1 CD79A MS4A1``.

    Raises
    ------
    InputError
        A threshold or a span that is none.
    """
    if not 0 <= alike <= 1:
        raise InputError(f"alike is {alike}; it is a likeness, from 0 to 1")
    if span < 0:
        raise InputError(f"span is {span}; give a number of layers, 0 or more")
    keys, weights = _merged(graph)
    features = [i for i, (kind, _) in enumerate(keys) if kind == "feature"]
    if len(features) < 2:
        return []
    pairs = [keys[i][1] for i in features]
    distance = 1 - _likeness(keys, weights, features, pairs, profiles)
    layer = np.array([pair[0] for pair in pairs])
    distance[np.abs(layer[:, None] - layer) > span] = _APART
    np.fill_diagonal(distance, 0)
    tree = linkage(squareform(np.maximum(distance, 0), checks=False), "average")
    cluster = fcluster(tree, 1 - alike, "distance")
    answer = next((i for i, (kind, _) in enumerate(keys) if kind == "answer"), None)
    found: list[tuple[float, Group]] = []
    for one in np.unique(cluster):
        some = np.flatnonzero(cluster == one)
        if len(some) < 2:
            continue
        members = [features[i] for i in some]
        direct = 0.0 if answer is None else float(weights[answer, members].sum())
        found.append((-abs(direct), Group(_name(keys, weights, members), tuple(sorted(pairs[i] for i in some)))))
    return _apart([group for _, group in sorted(found, key=lambda one: (one[0], one[1].members))])


def given_groups(graph: Graph, given: Mapping[str, Iterable[str | Feature]]) -> list[Group]:
    """Return groups by hand: names with their features, as ``"L1/153"`` or (1, 153).

    Raises
    ------
    InputError
        A feature that the graph has not, one that stands in two groups, an empty group, or one named like a feature.
    """
    nodes = graph.nodes.iloc[graph.of_kind("feature")]
    known = set(zip(nodes["layer"].tolist(), nodes["feature"].tolist(), strict=True))
    found: list[Group] = []
    taken: dict[Feature, str] = {}
    for name, some in given.items():
        members = sorted({feature_of(one) if isinstance(one, str) else (int(one[0]), int(one[1])) for one in some})
        if is_feature_name(str(name)):
            raise InputError(f"{name!r} is the name of a feature; give the group another")
        if not members:
            raise InputError(f"the group {name!r} has no feature; give some, such as L1/153, or leave it out")
        for one in members:
            if one not in known:
                raise InputError(f"the graph has no feature {feature_name(*one)}, which group {name!r} names; it has: "
                                 f"{listed(feature_name(*some) for some in sorted(known))}")  # fmt: skip
            if one in taken:
                raise InputError(f"{feature_name(*one)} is in the groups {taken[one]!r} and {name!r}; keep it in one")
            taken[one] = name
        found.append(Group(str(name), tuple(members)))
    return found


def with_groups(graph: Graph, groups: Sequence[Group]) -> Graph:
    """Return the graph with its groups kept in `about`."""
    return replace(graph, about={**graph.about, "groups": plain_groups(groups)})


def plain_groups(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """Return groups as plain values."""
    return [{"name": one.name, "members": [list(pair) for pair in one.members]} for one in groups]


def groups_of(about: Mapping[str, Any]) -> list[Group]:
    """Return the groups that are kept in `about`, or none."""
    return [
        Group(str(one["name"]), tuple((int(layer), int(number)) for layer, number in one["members"]))
        for one in about.get("groups", [])
    ]


def group_edges(graph: Graph, groups: Sequence[Group]) -> pd.DataFrame:
    """Return the weights into and out of groups, the sums of their members' weights, by falling size.

    Returns
    -------
    pandas.DataFrame
        Columns ``source`` and ``target``: names of groups, features, genes, ``prompt``, errors, biases, answers;
        ``weight``; and ``inner``: whether both ends are the same group.
    """
    keys, weights = _merged(graph)
    of = {pair: one.name for one in groups for pair in one.members}
    names = [of.get(key, feature_name(*key)) if kind == "feature" else str(key) for kind, key in keys]
    both = list(dict.fromkeys(names))
    row = np.array([both.index(name) for name in names])
    among = sp.csr_matrix((np.ones(len(row)), (row, np.arange(len(row)))), shape=(len(both), len(row)))
    folded = sp.csr_matrix(among @ sp.csr_matrix(weights) @ among.T).tocoo()
    own = np.isin(both, [one.name for one in groups])
    there = own[folded.row] | own[folded.col]
    table = pd.DataFrame(
        {
            "source": [both[i] for i in folded.col[there]],
            "target": [both[i] for i in folded.row[there]],
            "weight": folded.data[there],
            "inner": (folded.row == folded.col)[there],
        }
    )
    return table.sort_values("weight", key=np.abs, ascending=False, kind="stable", ignore_index=True)


def _merged(graph: Graph) -> tuple[list[tuple[str, Any]], Array]:
    """Return a kind and a key for each node, positions and tokens of a gene together, and the weights, dense."""
    found = []
    for kind, layer, position, feature, label in zip(
        *(graph.nodes[name].tolist() for name in ("kind", "layer", "position", "feature", "label")), strict=True
    ):
        key = {"feature": (layer, feature), "error": f"errors of layer {layer}"}.get(kind, label)
        found.append((kind, (graph.genes[position] or PROMPT) if kind == "token" else key))
    keys = list(dict.fromkeys(found))
    place = {key: i for i, key in enumerate(keys)}
    member = [place[key] for key in found]
    among = sp.csr_matrix((np.ones(len(member)), (member, np.arange(len(member)))), shape=(len(keys), len(member)))
    return keys, (among @ graph.weights.astype(np.float64) @ among.T).toarray()


def _likeness(
    keys: Sequence[tuple[str, Any]], weights: Array, features: Sequence[int], pairs: Sequence[Feature],
    profiles: pd.DataFrame | None,
) -> Array:  # fmt: skip
    """Return how alike each two features are, (n, n)."""
    sources = [i for i, (kind, _) in enumerate(keys) if kind in ("token", "feature", "error")]
    signed = np.sign(weights) * normalised(weights)
    blocks = [weights[np.ix_(features, sources)], signed[:, features].T]
    if profiles is not None:
        held = {(int(layer), int(number)): i for i, (layer, number) in enumerate(profiles.index)}
        values = profiles.to_numpy(dtype=np.float64)
        blocks.append(np.stack([values[held[pair]] if pair in held else np.zeros(values.shape[1]) for pair in pairs]))
    total, times = np.zeros((len(features),) * 2), np.zeros((len(features),) * 2)
    for block in blocks:
        length = np.linalg.norm(block, axis=1)
        there = length > 0
        unit = block / np.where(there, length, 1)[:, None]
        both = there[:, None] & there
        total += np.where(both, unit @ unit.T, 0)
        times += both
    return total / np.maximum(times, 1)


def _name(keys: Sequence[tuple[str, Any]], weights: Array, members: Sequence[int]) -> str:
    """Return a group's name: its lowest layer and the genes that it reads most from, directly."""
    genes = [i for i, (kind, key) in enumerate(keys) if kind == "token" and key not in (PROMPT, OTHER)]
    read = np.abs(weights[np.ix_(list(members), genes)].sum(axis=0))
    order = [i for i in np.argsort(-read, kind="stable")[:_NAMED] if read[i] > 0]
    layer = min(keys[i][1][0] for i in members)
    return " ".join([f"L{layer}", *(str(keys[genes[i]][1]) for i in order)])


def _apart(groups: Sequence[Group]) -> list[Group]:
    """Return groups of which no two have the same name: the second has a 2 behind it."""
    times: dict[str, int] = {}
    found = []
    for one in groups:
        times[one.name] = times.get(one.name, 0) + 1
        found.append(one if times[one.name] == 1 else one._replace(name=f"{one.name} ({times[one.name]})"))
    return found

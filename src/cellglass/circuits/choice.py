"""Which features make a circuit: active ones by their strength, single or over all tokens, and random ones like them.

A unit is one (layer, token, feature), or one (layer, feature) at all tokens. A random circuit has as many units of each
layer and of like norm as the circuit that it stands beside: units are parted by layer, within it by the norm of what
they write into classes of equal number, and from each class as many are drawn, among them the circuit's own. Circuits
that are large share much with such ones; so random circuits can also be drawn apart from the circuit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from cellglass.circuits.build import Answers
from cellglass.circuits.features import Replacement
from cellglass.circuits.graph import Graph
from cellglass.circuits.linear_map import Frozen
from cellglass.circuits.propagation import Effects, effects
from cellglass.errors import InputError

Array = np.ndarray[Any, Any]
Level = Literal["node", "whole"]

_CLASSES = 10


@dataclass(frozen=True)
class Units:
    """What circuits are made of.

    Attributes
    ----------
    level : {"node", "whole"}
        Single (layer, token, feature), or whole features at all tokens.
    layer, latent : numpy.ndarray of int64, (n,)
    node : numpy.ndarray of int64, (nodes,)
        Of each active (layer, token, feature), in the order of layers, tokens and slots, the unit that it is of.
    norm : numpy.ndarray, (n,)
        Of what a unit writes: activation times the length of what activation 1 writes, its root of squares over tokens.
    """

    level: Level
    layer: Array
    latent: Array
    node: Array
    norm: Array

    def __len__(self) -> int:
        return len(self.layer)

    def fold(self, values: Array) -> Array:
        """Return the sum over the nodes of each unit, (n,), of values of nodes."""
        return np.bincount(self.node, weights=values, minlength=len(self))


def units(replacement: Replacement, level: Level = "node") -> Units:
    """Return the units of all active features."""
    if level not in ("node", "whole"):
        raise InputError(f"circuits have no level {level!r}; choose node or whole")
    layers, latents, norms = [], [], []
    for layer, one in enumerate(replacement.features):
        active = one.value > 0
        length = torch.stack([rows.square().sum(1) for rows in one.write.values()]).sum(0).sqrt()
        found = one.latent[active]
        layers.append(np.full(len(found), layer))
        latents.append(found.cpu().numpy())
        norms.append((one.value[active] * length[found]).cpu().numpy().astype(np.float64))
    found_layer, found_latent, norm = (np.concatenate(x) for x in (layers, latents, norms))
    if level == "node":
        return Units(level, found_layer, found_latent, np.arange(len(found_layer)), norm)
    both, which = np.unique(np.stack([found_layer, found_latent]), axis=1, return_inverse=True)
    node: Array = np.ravel(which)
    size = np.sqrt(np.bincount(node, weights=norm**2, minlength=both.shape[1]))
    return Units(level, both[0], both[1], node, size)


def nodes_of(found: Effects, replacement: Replacement) -> Array:
    """Return effects of every active node on the first target, float64 (nodes,)."""
    parts = [one[f.value > 0][:, 0] for one, f in zip(found.features, replacement.features, strict=True)]
    return torch.cat(parts).cpu().numpy().astype(np.float64)


def influence_of(graph: Graph, replacement: Replacement) -> Array:
    """Return the influence of every active node, (nodes,); 0 of those that the graph has left out."""
    place: dict[tuple[int, int, int], int] = {}
    for layer, one in enumerate(replacement.features):
        position, slot = torch.nonzero(one.value > 0, as_tuple=True)
        for t, latent in zip(position.tolist(), one.latent[position, slot].tolist(), strict=True):
            place[layer, t, latent] = len(place)
    found = np.zeros(len(place))
    strength = graph.influence()
    features = graph.of_kind("feature")
    rows = graph.nodes.iloc[features]
    keys = zip(rows["layer"].tolist(), rows["position"].tolist(), rows["feature"].tolist(), strict=True)
    for key, value in zip(keys, strength[features].tolist(), strict=True):
        if key not in place:
            raise InputError(f"the graph has a feature {key} that is not active here; it is of another cell")
        found[place[key]] = value
    return found


def strengths(frozen: Frozen, replacement: Replacement, answers: Answers, by: str, graph: Graph | None = None) -> Array:
    """Return how strong each active node is, signed where it has a sign, (nodes,).

    Parameters
    ----------
    frozen, replacement, answers
        As of `build_graph`; the first answer counts.
    by : {"total", "direct", "influence"}
        Total or direct effect on the answer, or influence in `graph`.
    graph
        For influence.
    """
    if by == "influence":
        if graph is None:
            raise InputError("influence is of a graph; give the graph, or choose by total or direct effect")
        return influence_of(graph, replacement)
    if by not in ("total", "direct"):
        raise InputError(f"features have no strength {by!r}; choose total, direct or influence")
    return nodes_of(effects(frozen, replacement, answers.targets, total=by == "total"), replacement)


def ranked_units(made: Units, strength: Array) -> Array:
    """Return all units by falling size of their strength, which is summed over a unit's nodes first."""
    return np.argsort(-np.abs(made.fold(strength)), kind="stable")


def random_like(made: Units, chosen: Array, rng: np.random.Generator, *, apart: bool = False) -> Array:
    """Return as many units as `chosen`, with the same number in each layer and class of norm.

    With `apart` none of `chosen` is among them: where a class has too few others, the largest others of the layer that
    are left stand in, and of a layer of which more than half is chosen all others, which are fewer.
    """
    group = _classes(made)
    wanted = np.bincount(group[chosen], minlength=int(group.max(initial=-1)) + 1)
    free = np.ones(len(made), dtype=bool)
    free[chosen] = not apart
    drawn = [np.empty(0, dtype=np.int64)]
    for one, n in enumerate(wanted):
        pool = np.flatnonzero((group == one) & free)
        drawn.append(rng.choice(pool, min(n, len(pool)), replace=False))
    found = np.concatenate(drawn)
    if not apart:
        return found
    free[found] = False
    lacking = np.bincount(made.layer[chosen], minlength=_n_layers(made)) - np.bincount(
        made.layer[found], minlength=_n_layers(made)
    )
    for layer, n in enumerate(lacking):
        rest = np.flatnonzero(free & (made.layer == layer))
        found = np.concatenate([found, rest[np.argsort(-made.norm[rest], kind="stable")][:n]])
    return found


def _n_layers(made: Units) -> int:
    return int(made.layer.max(initial=-1)) + 1


def _classes(made: Units) -> Array:
    """Return the class of each unit: by layer, and within it by norm."""
    group = np.zeros(len(made), dtype=np.int64)
    for layer in np.unique(made.layer):
        here = np.flatnonzero(made.layer == layer)
        rank = np.argsort(np.argsort(made.norm[here], kind="stable"), kind="stable")
        group[here] = layer * _CLASSES + rank * _CLASSES // len(here)
    return group


def on_masks(
    made: Units, replacement: Replacement, circuits: Sequence[Array]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return circuits as masks of each layer: of active entries, bool (C, t, k), and of all features, bool (C, m).

    The second kind is of whole features, and all False of single nodes.
    """
    c = len(circuits)
    taken = np.zeros((c, len(made)), dtype=bool)
    for row, chosen in zip(taken, circuits, strict=True):
        row[chosen] = True
    entries, features, start = [], [], 0
    for layer, one in enumerate(replacement.features):
        active = one.value > 0
        n = int(active.sum())
        mask = torch.zeros(c, *active.shape, dtype=torch.bool, device=active.device)
        mask[:, active] = torch.from_numpy(taken[:, made.node[start : start + n]]).to(active.device)
        entries.append(mask)
        whole = torch.zeros(c, len(one.read), dtype=torch.bool, device=active.device)
        if made.level == "whole":
            here = np.flatnonzero(made.layer == layer)
            whole[:, torch.from_numpy(made.latent[here]).to(active.device)] = torch.from_numpy(taken[:, here]).to(
                active.device
            )
        features.append(whole)
        start += n
    return entries, features

r"""Checks single edges: doubles a feature in the frozen model and sees what changes behind it.

With a feature's contribution added once more, and later features' contributions left as they are (skip connections
answer), the pre-activation of each feature behind it must move by the weight of the edge between them: the direct
effect that one walk back gives.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from cellglass.circuits.editing import Lazily
from cellglass.circuits.features import Replacement
from cellglass.circuits.linear_map import Frozen, through
from cellglass.circuits.propagation import effects, feature_targets
from cellglass.errors import InputError
from cellglass.seeds import generator

Tensor = torch.Tensor

_BATCH = 256


class EdgeCheck(NamedTuple):
    """How far edges are from what doubling their source changes.

    Attributes
    ----------
    deviation : float
        The largest difference.
    largest : float
        The largest edge among them, which differences compare with.
    sources, edges : int
        Features that were doubled, and edges that were compared, those of weight 0 among them.
    """

    deviation: float
    largest: float
    sources: int
    edges: int


@torch.no_grad()
def check_edges(frozen: Frozen, replacement: Replacement, sources: int = 100, seed: int = 0) -> EdgeCheck:
    """Compare the edges from some active features to all active features with what doubling them changes.

    Parameters
    ----------
    frozen, replacement
        The transformer on one input, and what stands in the place of its MLPs.
    sources
        Features that are doubled one after the other, drawn among the active ones.
    seed

    Returns
    -------
    EdgeCheck
        In float64 the deviation is rounding, 1e-9 of the largest edge; in float32 about 1e-4 of it.
    """
    places = [torch.nonzero(one.value > 0) for one in replacement.features]  # each (active, 2): token, slot
    layer = np.repeat(np.arange(len(places)), [len(one) for one in places])
    if not len(layer) or sources < 1:
        raise InputError(f"{sources} of {len(layer)} active features were to be doubled; there is nothing to check")
    drawn = np.sort(generator(seed, "doubled features").permutation(len(layer))[:sources])
    where = torch.cat(places)[torch.from_numpy(drawn).to(places[0].device)]
    chosen = [(int(a), int(t), int(slot)) for a, (t, slot) in zip(layer[drawn], where.tolist(), strict=True)]
    before = _preactivations(frozen, replacement, replacement.written(frozen), places)
    moved = [_doubled(frozen, replacement, *one, places, before) for one in chosen]
    deviation, largest, n = 0.0, 0.0, 0
    for target, place in enumerate(places):
        change = torch.stack([one[target] for one in moved])  # (sources, active)
        for first in range(0, len(place), _BATCH):
            t, slot = place[first : first + _BATCH].T
            targets = feature_targets(frozen, replacement, target, t, replacement.features[target].latent[t, slot])
            found = effects(frozen, replacement, targets).features
            edges = torch.stack([found[a][b, c] for a, b, c in chosen])  # (sources, batch)
            away = (edges - change[:, first : first + _BATCH]).abs().max()
            deviation, largest = max(deviation, float(away)), max(largest, float(edges.abs().max()))
            n += edges.numel()
    return EdgeCheck(deviation, largest, len(chosen), n)


def _doubled(
    frozen: Frozen, replacement: Replacement, layer: int, token: int, slot: int, places: list[Tensor],
    before: list[Tensor],
) -> list[Tensor]:  # fmt: skip
    """Return how much every active feature's pre-activation moves when one feature is doubled, by layer."""
    features = replacement.features[layer]
    written = replacement.written(frozen)
    for to, rows in features.write.items():
        written[to][token] += features.value[token, slot] * rows[features.latent[token, slot]]
    after = _preactivations(frozen, replacement, written, places)
    return [a - b for a, b in zip(after, before, strict=True)]


def _preactivations(
    frozen: Frozen, replacement: Replacement, written: list[Tensor], places: list[Tensor]
) -> list[Tensor]:
    """Return the pre-activations at `places`, by layer, with `written` in the MLPs' places; skip connections answer."""

    def write(layer: int, read: Tensor) -> Tensor:
        skip = replacement.skip[layer]
        return written[layer] if skip is None else written[layer] + (read - frozen.mlp_in[layer]) @ skip

    states: list[Tensor] = []
    for state in frozen.states(frozen.first, Lazily(frozen, write, states)):
        states.append(state)
    found = []
    for layer, (place, features) in enumerate(zip(places, replacement.features, strict=True)):
        y = through(frozen.mlp(layer).before, states[frozen.reads(layer)])
        t, slot = place.T
        latent = features.latent[t, slot]
        found.append((y[t] * features.read[latent]).sum(1) + features.read_bias[latent])
    return found

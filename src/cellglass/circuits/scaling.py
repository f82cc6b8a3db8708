"""Features of transcoders whose contribution to the real model is multiplied while it runs, and the same elsewhere.

A feature that is scaled by f adds (f - 1) z w to what its MLP writes: z is its activation in the changed run, w what
activation 1 writes. All else that the MLP does stays, and everything behind it answers. What was added at the tokens of
one MLP, D (t, d), is turned into random directions: with B (r, d) orthonormal rows that span the features' w, and F
(r, d) random orthonormal rows, D' = (D B^T) F is as long at every token, and tokens are as much alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from cellglass.circuits.answers import Question, gene_of, model_symbols, run_copies
from cellglass.circuits.features import StandIns, layer_features
from cellglass.dictionaries.kinds.crosslayer import CrossLayerTranscoder
from cellglass.errors import InputError
from cellglass.models.transformer.hooks import Edit
from cellglass.models.transformer.model import TransformerModel
from cellglass.seeds import generator

Tensor = torch.Tensor
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ScaleFeatures:
    """Features whose contribution is multiplied.

    Attributes
    ----------
    members : sequence of (int, int)
        Layer and number of each.
    factor : float
        0 takes them out, 1 leaves them.
    gene : str or None
        The gene at whose tokens alone they are scaled; ``""`` for the tokens of no gene, None for all tokens.
    """

    members: Sequence[tuple[int, int]]
    factor: float = 0.0
    gene: str | None = None

    def __post_init__(self) -> None:
        if not self.members:
            raise InputError("no feature is named; give layer and number of at least one")
        if not np.isfinite(self.factor):
            raise InputError(
                f"features cannot be multiplied by {self.factor}; give a number, such as 0 to take them out"
            )


@dataclass(frozen=True)
class Scaling:
    """What is scaled: layer, latents, factor and gene of each change, and what these latents span of each MLP's output.

    `spans` are orthonormal columns, float64 (d, r), by the layer that is written to.
    """

    transcoders: StandIns | None
    scales: Sequence[tuple[int, Tensor, float, str | None]]
    spans: Mapping[int, Tensor]

    @classmethod
    def of(cls, model: TransformerModel, transcoders: StandIns | None, changes: Sequence[ScaleFeatures]) -> Scaling:
        """Return what `changes` scale; InputError for a feature or a gene that is not there."""
        if not changes:
            return cls(transcoders, [], {})
        if transcoders is None:
            raise InputError("features are scaled through transcoders, and none are given; give those of this model")
        layers, latents = _shape(transcoders)
        symbols = model_symbols(model)
        scales, members = [], dict[int, set[int]]()
        for one in changes:
            gene = one.gene if not one.gene else symbols[gene_of(model, one.gene)]
            for layer, latent in one.members:
                if not (0 <= layer < layers and 0 <= latent < latents):
                    raise InputError(
                        f"there is no feature L{layer}/{latent}; the transcoders have layers 0 to {layers - 1} with "
                        f"features 0 to {latents - 1}"
                    )
                members.setdefault(layer, set()).add(latent)
            for layer in sorted({layer for layer, _ in one.members}):
                some = sorted({latent for of, latent in one.members if of == layer})
                scales.append((layer, torch.tensor(some), one.factor, gene))
        rows: dict[int, list[Tensor]] = {}
        nothing = torch.zeros(1, model.site("layers.0.mlp.in").width, device=model.device)
        for layer, own in sorted(members.items()):
            for to, write in layer_features(transcoders, layer, nothing).write.items():
                rows.setdefault(to, []).append(write[sorted(own)].double())
        return cls(transcoders, scales, {to: torch.linalg.qr(torch.cat(all_).T)[0] for to, all_ in rows.items()})

    def added(self, layer: int, x: Tensor, genes: Sequence[str]) -> tuple[dict[int, Tensor], int]:
        """Return what scaling the features of a layer, whose MLP reads `x`, (t, d), adds to MLPs, and how many are."""
        here = [one for one in self.scales if one[0] == layer]
        if not here or self.transcoders is None:
            return {}, 0
        features = layer_features(self.transcoders, layer, x)
        factor = torch.ones_like(features.value)
        for _, latents, by, gene in here:
            place = torch.tensor([gene is None or gene == own for own in genes], device=x.device)
            inside = torch.isin(features.latent, latents.to(x.device)) & place[:, None]
            factor = torch.where(inside, factor * by, factor)
        less = (factor - 1) * features.value
        found = {to: torch.einsum("tk,tkd->td", less, rows[features.latent]) for to, rows in features.write.items()}
        return found, int((less != 0).sum())

    def turned(self, layer: int, added: Tensor, draws: Sequence[int] | range, seed: int) -> Tensor:
        """Return what was added to a layer's MLP, (t, d), in random directions, float64 (draws, t, d)."""
        span = self.spans[layer]
        inside, found = added.double() @ span, []
        for draw in draws:
            drawn = generator(seed, "random directions", layer, draw).standard_normal(span.shape)
            found.append(inside @ torch.linalg.qr(torch.from_numpy(drawn).to(span))[0].T)
        return torch.stack(found)


def _shape(transcoders: StandIns) -> tuple[int, int]:
    """Return how many layers there are, and features of a layer."""
    if isinstance(transcoders, CrossLayerTranscoder):
        return transcoders.n_layers, transcoders.per_layer
    return len(transcoders), transcoders[0].n_latents


@torch.no_grad()
def scaled_answers(model: TransformerModel, asked: Question, scaling: Scaling) -> tuple[Array, dict[int, Tensor], int]:
    """Return the answer and chances, (1, 1 + words), with features scaled; what was added to MLPs; how many were."""
    added: dict[int, Tensor] = {}
    touched = [0]

    def read(layer: int) -> Edit:
        def edit(x: Tensor) -> Tensor:
            parts, n = scaling.added(layer, x[0], asked.genes)
            touched[0] += n
            for to, part in parts.items():
                added[to] = added[to] + part if to in added else part
            return x

        return edit

    def write(layer: int) -> Edit:
        return lambda y: y + added[layer].to(y) if layer in added else y

    layers = sorted({one[0] for one in scaling.scales})
    edits: dict[str, Edit] = {f"layers.{layer}.mlp.in": read(layer) for layer in layers}
    if layers:
        edits |= {f"layers.{layer}.mlp.out": write(layer) for layer in range(layers[0], _n_layers(model))}
    states = run_copies(model, asked, 1, asked.point, edits)
    return answers_of(asked, states), added, touched[0]


@torch.no_grad()
def turned_answers(
    model: TransformerModel,
    asked: Question,
    scaling: Scaling,
    added: dict[int, Tensor],
    draws: Sequence[int] | range,
    seed: int,
) -> Array:
    """Return answers and chances, (draws, 1 + words), with what was added turned into random directions."""
    if not draws:
        return np.empty((0, 1 + len(asked.words)))
    each = max(1, model.batch_tokens // len(asked.texts))
    parts = []
    for i in range(0, len(draws), each):
        some = draws[i : i + each]
        edits = {f"layers.{layer}.mlp.out": _plus(scaling.turned(layer, d, some, seed)) for layer, d in added.items()}
        parts.append(answers_of(asked, run_copies(model, asked, len(some), asked.point, edits)))
    return np.concatenate(parts)


def _plus(rows: Tensor) -> Edit:
    return lambda y: y + rows.to(y)


def _n_layers(model: TransformerModel) -> int:
    return sum(name.endswith(".mlp.out") for name in model.points)


@torch.no_grad()
def answers_of(asked: Question, states: Tensor) -> Array:
    """Return the answer and the chances of each copy, float64 (n, 1 + words)."""
    parts = [asked.reader(states)[:, None]]
    if asked.chances is not None:
        parts.append(asked.chances(states))
    return np.concatenate([one.double().cpu().numpy() for one in parts], axis=1)

r"""Runs a model with some features' contributions to its MLPs replaced, many circuits in one pass.

In the place of each MLP stands

    constants + error (or not) + what the features in the circuit write + what stands for the others

where for the others stands nothing, or what they write on average. Features of the circuit keep the activation that
they have on this cell, or (`answering`) answer to what their MLP reads in the edited run, with the choice of active
ones frozen. Either the real model runs, whose attention patterns, norms and head answer to the edits, or the frozen
one. With nothing replaced, and errors kept, both say what the model says of the cell.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch

from cellglass.cells.cells import Cells
from cellglass.circuits.answers import Question, Target, frozen_cell, question, run_copies
from cellglass.circuits.asked import Asked
from cellglass.circuits.features import Replacement, StandIns, replace_mlps
from cellglass.circuits.linear_map import Frozen, through
from cellglass.errors import InputError
from cellglass.models.transformer.hooks import Edit
from cellglass.models.transformer.model import TransformerModel

Tensor = torch.Tensor
Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Filling:
    """What stands for what is not kept.

    Attributes
    ----------
    means : sequence of torch.Tensor, (m,), or None
        Of each layer: the mean activation of each feature, at which those that are not kept stay at every token,
        active there or not; None for 0.
    error : bool
        Whether what the transcoders miss stays, as it is on this cell.
    answering : bool
        Whether the activations of kept features answer to what is changed before them, or stay.
    layers : collection of int, or None
        Layers whose features may be replaced; those of others stay, in a circuit or not. None for all. In a parallel
        block layer 0 reads its own token alone and carries most of what MLPs do: test the others apart.
    """

    means: Sequence[Tensor] | None = None
    error: bool = True
    answering: bool = False
    layers: Collection[int] | None = None


@torch.no_grad()
def mean_activations(
    model: TransformerModel, cells: Cells, transcoders: StandIns, target: Target, against: Target | None = None
) -> list[Tensor]:
    """Return the mean activation of each feature over all tokens of cells that are asked the same, (m,) a layer."""
    if not cells.n_cells:
        raise InputError("there are no cells to take means of; give at least one")
    cells = model.align(cells)
    sums: list[Tensor] = []
    tokens = 0
    for i in range(cells.n_cells):
        frozen = frozen_cell(model, question(model, cells[i : i + 1], target, against).tokens)
        features = replace_mlps(frozen, transcoders).features
        found = [
            f.read_bias.new_zeros(len(f.read)).index_add_(0, f.latent.flatten(), f.value.flatten()) for f in features
        ]
        sums = [a + b for a, b in zip(sums, found, strict=True)] if sums else found
        tokens += frozen.n_tokens
    return [one / tokens for one in sums]


@dataclass
class Written:
    """What C circuits write in each MLP's place; made anew for each run.

    Attributes
    ----------
    frozen, replacement
    filling : Filling
    entries : sequence of torch.Tensor, bool (C, t, k)
        Of each layer: which active features are in each circuit.
    whole : sequence of torch.Tensor, bool (C, m)
        Which are so at all tokens; see `choice.on_masks`.
    removed : bool
        Whether the circuits are what is replaced, and all else stays.
    """

    frozen: Frozen
    replacement: Replacement
    filling: Filling
    entries: Sequence[Tensor]
    whole: Sequence[Tensor]
    removed: bool = False
    _values: dict[int, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.entries[0])

    def part(self, circuits: slice) -> Written:
        """Return some of the circuits."""
        cut = [[one[circuits] for one in masks] for masks in (self.entries, self.whole)]
        return Written(self.frozen, self.replacement, self.filling, cut[0], cut[1], self.removed)

    def __call__(self, layer: int, read: Tensor) -> Tensor:
        """Return what is written in the place of the MLP of a layer, (C, t, d), which reads `read`, (C, t, d).

        Layers are asked for in their order.
        """
        made, fill = self.replacement, self.filling
        self._values[layer] = self._activations(layer, read)
        total = made.constant[layer].expand_as(read)
        if fill.error:
            total = total + made.error[layer]
        skip = made.skip[layer]
        if skip is not None:
            total = total + (read if fill.answering else self.frozen.mlp_in[layer]) @ skip
        for source, features in enumerate(made.features[: layer + 1]):
            if layer not in features.write:
                continue
            weight = features.write[layer]
            if fill.layers is not None and source not in fill.layers:
                total = total + torch.einsum("ctk,tkd->ctd", self._values[source], weight[features.latent])
                continue
            kept = ~self.entries[source] if self.removed else self.entries[source]
            amount = torch.where(kept, self._values[source], 0)
            if fill.means is not None:
                everywhere, here = self._filled(source, fill.means[source].to(weight))
                total, amount = total + everywhere @ weight, amount + here
            total = total + torch.einsum("ctk,tkd->ctd", amount, weight[features.latent])
        return total

    @property
    def _is_whole(self) -> bool:
        return any(bool(one.any()) for one in self.whole)

    def _filled(self, source: int, mean: Tensor) -> tuple[Tensor, Tensor]:
        """Return what stands for replaced features: at every token, (C, 1, m) or (m,), and more of active entries.

        Of single nodes the mean is everywhere but at the circuit's entries; or, with the circuit removed, only there.
        """
        entries = torch.where(self.entries[source], mean[self.replacement.features[source].latent], 0)  # (C, t, k)
        if self._is_whole:
            replaced = self.whole[source] if self.removed else ~self.whole[source]
            return (replaced * mean)[:, None], torch.zeros_like(entries)
        return (torch.zeros_like(mean), entries) if self.removed else (mean, -entries)

    def _activations(self, layer: int, read: Tensor) -> Tensor:
        features = self.replacement.features[layer]
        if not self.filling.answering:
            return features.value.expand(len(read), -1, -1)
        p = torch.einsum("ctd,tkd->ctk", read, features.read[features.latent]) + features.read_bias[features.latent]
        return torch.where(features.value > 0, p.clamp_min(0), 0)


# -- running ---------------------------------------------------------------------------------------------------------


@torch.no_grad()
def real_answers(asked: Asked, written: Written) -> Array:
    """Return what the real model answers to each circuit, float64 (C,)."""
    each = max(1, asked.model.batch_tokens // asked.frozen.n_tokens)
    parts = [_real(asked.model, asked.question, written.part(slice(i, i + each))) for i in range(0, len(written), each)]
    return np.concatenate(parts)


def _real(model: TransformerModel, question: Question, written: Written) -> Array:
    answer = question.reader
    states = run_copies(model, question, len(written), question.point, edits_of(written))
    return np.asarray(answer(states).cpu().numpy(), dtype=np.float64)


def edits_of(written: Written) -> dict[str, Edit]:
    """Return the edits, by site, that put what is written in the place of a model's MLPs, for one run."""
    read = dict[int, Tensor]()

    def keep(layer: int, x: Tensor) -> Tensor:
        read[layer] = x
        return x

    def write(layer: int, x: Tensor) -> Tensor:
        return written(layer, read.pop(layer)).to(x)

    edits: dict[str, Edit] = {}
    for layer in range(written.frozen.n_layers):
        edits[f"layers.{layer}.mlp.in"] = partial(keep, layer)
        edits[f"layers.{layer}.mlp.out"] = partial(write, layer)
    return edits


@torch.no_grad()
def frozen_answers(asked: Asked, written: Written) -> Array:
    """Return what the frozen model answers to each circuit, float64 (C,): patterns, norms and head stay."""
    targets = asked.answers.targets
    found = []
    for i in range(len(written)):
        states: list[Tensor] = []
        lazily = Lazily(asked.frozen, partial(_alone, written.part(slice(i, i + 1))), states)
        for state in asked.frozen.states(asked.frozen.first, lazily):
            states.append(state)
            if len(states) > targets.state:
                break
        found.append(float(targets.at(states)[0]))
    return np.array(found)


def _alone(written: Written, layer: int, read: Tensor) -> Tensor:
    return written(layer, read[None])[0]


class Lazily(Sequence[Tensor]):
    """What is written in each MLP's place, made when `Frozen.states` asks for it: by then what it reads is there.

    Parameters
    ----------
    frozen
    write : callable, (layer, torch.Tensor (t, d)) -> torch.Tensor (t, d)
        What is written of what is read.
    states
        To which each state is added as it comes.
    """

    def __init__(self, frozen: Frozen, write: Callable[[int, Tensor], Tensor], states: Sequence[Tensor]) -> None:
        self.frozen, self.write, self.states = frozen, write, states

    def __len__(self) -> int:
        return self.frozen.n_layers

    def __getitem__(self, layer: Any) -> Any:
        step = self.frozen.mlp(layer)
        return self.write(layer, through(step.before, self.states[self.frozen.reads(layer)]))

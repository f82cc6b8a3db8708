"""The MLPs of a transformer: their sites, what passes through them, and what they write in one pass if told to.

An edit of `cellglass.models.transformer.hooks.run` sees the tensor at its own point alone. A transcoder that stands in
an MLP's place needs the MLP's input: one edit takes note of it at ``layers.i.mlp.in``, another writes at
``layers.i.mlp.out`` in the same pass. This file knows neither cells nor losses.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from typing import Literal

import torch

from cellglass.circuits.transcoders import Transcoders
from cellglass.errors import InputError
from cellglass.models.transformer.hooks import Edit
from cellglass.models.transformer.model import TransformerModel

Way = Literal["replaced", "zeroed", "mean"]
WAYS: tuple[Way, ...] = ("replaced", "zeroed", "mean")
"""What stands in the place of MLPs: their transcoders, 0, or their mean output."""


def n_layers(model: TransformerModel) -> int:
    """Return how many MLPs the model has: its sites ``layers.i.mlp.in`` and ``layers.i.mlp.out``."""
    found = 0
    while f"layers.{found}.mlp.in" in model.points and f"layers.{found}.mlp.out" in model.points:
        found += 1
    if not found:
        raise InputError(f"the {model.kind} model has no sites layers.i.mlp.in and layers.i.mlp.out to transcode")
    return found


def mlp_sites(model: TransformerModel) -> list[str]:
    """Return the names of the input and the output of every MLP, layer after layer."""
    return [f"layers.{i}.mlp.{side}" for i in range(n_layers(model)) for side in ("in", "out")]


def take(place: torch.Tensor, into: list[torch.Tensor]) -> Edit:
    """Return an edit that changes nothing and adds the rows at `place`, bool (n, t), to `into`, float32 on the CPU.

    Read so, a batch's states are not all held until its end.
    """

    def edit(hidden: torch.Tensor) -> torch.Tensor:
        into.append(hidden[place].float().cpu())
        return hidden

    return edit


# -- MLPs that write something else ------------------------------------------------------------------------------------


def replacing(transcoders: Transcoders, layers: Collection[int], way: Way, mask: torch.Tensor) -> dict[str, Edit]:
    """Return the edits, for `hooks.run`, with which the MLPs of `layers` write something else.

    A transcoder writes what it makes of its own layer's input in the same pass, of a cross-layer one of the inputs of
    all layers up to it. At padding 0 is written.

    Parameters
    ----------
    transcoders
        Of all layers; of `mean` the mean outputs of their training.
    layers
        Which MLPs.
    way : {"replaced", "zeroed", "mean"}
    mask : torch.Tensor, bool (n, t)
        True at tokens.
    """
    if way == "zeroed":
        return {f"layers.{i}.mlp.out": torch.zeros_like for i in layers}
    if way == "mean":
        means = mean_outputs(transcoders)
        return {f"layers.{i}.mlp.out": partial(_constant, means[i]) for i in layers}
    imitated = Imitated(transcoders, mask)
    read = range(max(layers, default=-1) + 1) if transcoders.is_crosslayer else layers
    reading: dict[str, Edit] = {f"layers.{i}.mlp.in": partial(imitated.read, i) for i in read}
    return reading | {f"layers.{i}.mlp.out": partial(imitated.write, i) for i in layers}


def mean_outputs(transcoders: Transcoders) -> torch.Tensor:
    """Return the mean output of each MLP over the tokens of training, float32 (n_layers, width)."""
    means = torch.cat([one.centre_out for one in transcoders.dictionaries])
    return means.view(transcoders.n_layers, -1)


def _constant(value: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
    return value.to(hidden).expand_as(hidden)


class Imitated:
    """What transcoders write in one pass of the network, from what passes through the MLPs' inputs.

    Parameters
    ----------
    transcoders : Transcoders
    mask : torch.Tensor, bool (n, t)
        True at tokens.
    """

    def __init__(self, transcoders: Transcoders, mask: torch.Tensor) -> None:
        self.transcoders, self.mask = transcoders, mask
        self._inputs: dict[int, torch.Tensor] = {}
        self._added: dict[int, torch.Tensor] = {}

    def read(self, layer: int, hidden: torch.Tensor) -> torch.Tensor:
        """Take note of an MLP's input, (n, t, width), and return it as it is."""
        x = hidden[self.mask].float().to(self.transcoders.dictionaries[0].encoder.device)
        if not self.transcoders.is_crosslayer:
            self._inputs[layer] = x
            return hidden
        one = self.transcoders.crosslayer
        parts = torch.split(one.decode_layer(one.encode_layer(x, layer), layer), one.width_out, dim=1)
        for to, part in enumerate(parts, layer):
            self._added[to] = self._added[to] + part if to in self._added else part
        return hidden

    def write(self, layer: int, hidden: torch.Tensor) -> torch.Tensor:
        """Return what takes the place of an MLP's output."""
        if self.transcoders.is_crosslayer:
            y = self.transcoders.crosslayer.rest(layer) + self._added.pop(layer)
        else:
            one, x = self.transcoders[layer], self._inputs.pop(layer)
            y = one.decode(one.encode(x), x)
        written = torch.zeros_like(hidden)
        written[self.mask] = y.to(hidden)
        return written

"""How well transcoders imitate MLPs, token after token: active latents, latents that are never active, and the error.

    L0       mean number of latents that are active at a token
    dead     share of latents that are active at none
    error    sum ||y - y_hat||^2 / sum ||y - mean(y)||^2 = 1 - variance explained

One pass keeps a vector as wide as the site and one flag a latent, however many tokens there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch

from cellglass.circuits.transcoders import Transcoders
from cellglass.moments import Moments


class Measured(NamedTuple):
    """L0, dead share and error of a layer's transcoder; see the head of this file."""

    l0: float
    dead: float
    error: float


class Quality:
    """L0, dead share and error of one layer, token after token, without keeping any.

    Parameters
    ----------
    transcoders : Transcoders
    layer : int
    """

    def __init__(self, transcoders: Transcoders, layer: int) -> None:
        self.transcoders, self.layer = transcoders, layer
        self._moments = Moments(transcoders.width, together=True)
        self._device = transcoders.dictionaries[0].encoder.device
        self._seen = torch.zeros(transcoders.n_latents, dtype=torch.bool, device=self._device)
        self._active, self._error = 0, 0.0

    def add(self, inputs: Sequence[torch.Tensor], y: torch.Tensor) -> None:
        """Take in what the MLPs of all layers read and this layer's wrote, each (n, width)."""
        inputs = [x.to(self._device) for x in inputs[: self.layer + 1]]
        if self.transcoders.is_crosslayer:
            one = self.transcoders.crosslayer
            codes, found = one.encode_layer(inputs[self.layer], self.layer), one.rest(self.layer)
            own = slice(self.layer * one.width_out, (self.layer + 1) * one.width_out)
            for i in range(self.layer + 1):
                skipped = slice(own.start - i * one.width_out, own.stop - i * one.width_out)
                found = found + one.decode_layer(one.encode_layer(inputs[i], i), i)[:, skipped]
        else:
            single, x = self.transcoders[self.layer], inputs[self.layer]
            codes = single.encode(x)
            found = single.decode(codes, x)
        positive = codes.values > 0
        self._active += int(positive.sum())
        self._seen[codes.indices[positive]] = True
        self._error += float((y.double() - found.cpu().double()).square().sum())
        self._moments.add(y)

    def found(self) -> Measured:
        """Return what was measured."""
        n, squares = self._moments.n, float(self._moments.squares)
        if not n:
            return Measured(*[float("nan")] * 3)
        error = self._error / squares if squares > 0 else float("nan")
        return Measured(self._active / n, 1 - float(self._seen.double().mean()), error)

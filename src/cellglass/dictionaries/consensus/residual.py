"""Latents for what fixed ones leave: a BatchTopK sparse autoencoder that reads the site and reconstructs the rest."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from cellglass.dictionaries.consensus.readout import Readout
from cellglass.dictionaries.kinds.batchtopk import BatchTopK, BatchTopKConfig


class Core(nn.Module):
    """The fixed part, on scaled rows: readouts, what each adds (n_core, d), and what all rows have (d,).

    Its tensors are buffers, so that they go with a dictionary to whatever device that is trained on, and back.
    """

    encoder: torch.Tensor
    offset: torch.Tensor
    threshold: torch.Tensor
    decoder: torch.Tensor
    bias: torch.Tensor

    def __init__(self, readout: Readout, decoder: torch.Tensor, bias: torch.Tensor) -> None:
        super().__init__()
        held = {name: torch.from_numpy(getattr(readout, name)) for name in ("encoder", "offset", "threshold")}
        for name, value in {**held, "decoder": decoder, "bias": bias}.items():
            self.register_buffer(name, value.float(), persistent=False)

    def activations(self, u: torch.Tensor) -> torch.Tensor:
        """Return the activations of rows `u` (n, d), (n, n_core)."""
        p = torch.addmm(self.offset, u, self.encoder.T)
        return torch.where(p > self.threshold, p.relu(), 0.0)

    def reconstruct(self, u: torch.Tensor) -> torch.Tensor:
        """Return what the fixed part makes of rows `u`, (n, d)."""
        return self.activations(u) @ self.decoder + self.bias


class Residual(BatchTopK):
    """A BatchTopK dictionary that is trained on what a `core` leaves of each row."""

    kind: ClassVar[str] = "residual"

    def __init__(self, config: BatchTopKConfig, core: Core) -> None:
        super().__init__(config)
        self.core = core

    @torch.no_grad()
    def wanted(self, u: torch.Tensor) -> torch.Tensor:
        """Return what the core leaves of scaled rows `u`."""
        return u - self.core.reconstruct(u)

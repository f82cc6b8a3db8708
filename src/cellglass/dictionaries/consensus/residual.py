"""Latents for what fixed ones leave: a BatchTopK sparse autoencoder that reads the site and reconstructs the rest."""

from __future__ import annotations

from typing import ClassVar

import torch

from cellglass.dictionaries.consensus.readout import Readout
from cellglass.dictionaries.kinds.batchtopk import BatchTopK, BatchTopKConfig


class Core:
    """The fixed part, on scaled rows: readouts, what each adds (n_core, d), and what all rows have (d,)."""

    def __init__(self, readout: Readout, decoder: torch.Tensor, bias: torch.Tensor) -> None:
        self.encoder, self.offset, self.threshold = (
            torch.from_numpy(values).float() for values in (readout.encoder, readout.offset, readout.threshold)
        )
        self.decoder, self.bias = decoder.float(), bias.float()

    def activations(self, u: torch.Tensor) -> torch.Tensor:
        """Return the activations of rows `u` (n, d), (n, n_core)."""
        p = torch.addmm(self.offset, u, self.encoder.T)
        return torch.where(p > self.threshold, p.relu(), 0.0)

    def reconstruct(self, u: torch.Tensor) -> torch.Tensor:
        """Return what the fixed part makes of rows `u`, (n, d)."""
        return self.activations(u) @ self.decoder + self.bias

    def to(self, device: torch.device) -> Core:
        """Move everything to a device."""
        for name, value in vars(self).items():
            setattr(self, name, value.to(device))
        return self


class Residual(BatchTopK):
    """A BatchTopK dictionary that is trained on what a `core` leaves of each row."""

    kind: ClassVar[str] = "residual"

    def __init__(self, config: BatchTopKConfig, core: Core) -> None:
        super().__init__(config)
        self.core = core

    @torch.no_grad()
    def wanted(self, u: torch.Tensor) -> torch.Tensor:
        """Return what the core leaves of scaled rows `u`."""
        return u - self.core.to(u.device).reconstruct(u)

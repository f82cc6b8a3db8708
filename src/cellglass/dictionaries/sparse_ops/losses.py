"""The losses of a training step, in scaled units throughout, so that they are comparable between sites."""

from __future__ import annotations

from typing import NamedTuple

import torch

from cellglass.dictionaries.sparse_ops.products import Pattern


class Losses(NamedTuple):
    """The losses of a batch.

    Attributes
    ----------
    reconstruction : torch.Tensor, scalar
        Mean over levels of the mean squared error, per dimension.
    penalty : torch.Tensor or None
        What else the kind minimises.
    residual : torch.Tensor, (n, d_out)
        Reconstruction of the last level - target (so the loss falls along -residual), without gradient.
    pattern : Pattern
        The entries of the last level.
    activation : torch.Tensor, (entries,)
        The activations there, without gradient; 0 where an entry is not active after all.
    """

    reconstruction: torch.Tensor
    penalty: torch.Tensor | None
    residual: torch.Tensor
    pattern: Pattern
    activation: torch.Tensor

    @property
    def total(self) -> torch.Tensor:
        """The sum of both."""
        return self.reconstruction if self.penalty is None else self.reconstruction + self.penalty

    def active_latents(self) -> torch.Tensor:
        """Return which latents are active in any row, bool (n_latents,)."""
        return self.pattern.sums(self.activation) > 0

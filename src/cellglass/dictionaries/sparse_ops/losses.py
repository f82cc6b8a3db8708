"""What a training step minimises beside what a kind says: the loss that revives dead latents.

Scaled units throughout, so that losses are comparable between sites.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch

from cellglass.dictionaries.sparse_ops.products import Pattern
from cellglass.dictionaries.sparse_ops.selection import Chosen

if TYPE_CHECKING:
    from cellglass.dictionaries.sparse import SparseDictionary


class Losses(NamedTuple):
    """The losses of a batch.

    Attributes
    ----------
    reconstruction : torch.Tensor, scalar
        Mean over levels of the mean squared error, per dimension.
    penalty : torch.Tensor or None
        What else the kind minimises.
    miss : torch.Tensor, (n, d_out)
        By what the reconstruction of the last level exceeds the target, without gradient.
    pattern : Pattern
        The entries of the last level.
    activation : torch.Tensor, (entries,)
        The activations there, without gradient; 0 where an entry is not active after all.
    """

    reconstruction: torch.Tensor
    penalty: torch.Tensor | None
    miss: torch.Tensor
    pattern: Pattern
    activation: torch.Tensor

    @property
    def total(self) -> torch.Tensor:
        """The sum of both."""
        return self.reconstruction if self.penalty is None else self.reconstruction + self.penalty

    def active_latents(self) -> torch.Tensor:
        """Return which latents are active in any row, bool (n_latents,)."""
        return self.pattern.sums(self.activation) > 0


def auxiliary_loss(dictionary: SparseDictionary, u: torch.Tensor, miss: torch.Tensor, dead: Chosen) -> torch.Tensor:
    """Return how badly the dead latents explain the residual, relative to its size (Gao et al. 2024, section 3).

    In each row the dead latents with the largest pre-activations, `dead`, reconstruct what is left unexplained, -`miss`
    (without bias); latents that never win a place in the selection get a gradient by this and come back where something
    is left.
    """
    f = dictionary.respond(u, dead).relu()
    return dictionary.aside(dead.pattern, f, -miss) / miss.square().mean().clamp_min(1e-12)

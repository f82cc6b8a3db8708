"""The loss that revives dead latents, which a training step minimises beside what a kind says."""

from __future__ import annotations

import torch

from cellglass.dictionaries.sparse import SparseDictionary
from cellglass.dictionaries.sparse_ops.selection import Chosen


def auxiliary_loss(dictionary: SparseDictionary, u: torch.Tensor, residual: torch.Tensor, dead: Chosen) -> torch.Tensor:
    """Return how badly the dead latents explain the residual, relative to its size (Gao et al. 2024, section 3).

    In each row the dead latents with the largest pre-activations, `dead`, reconstruct what is left unexplained,
    -`residual` (without bias); latents that never win a place in the selection get a gradient by this and come back
    where something is left.
    """
    f = dictionary.respond(u, dead).relu()
    return dictionary.aside(dead.pattern, f, -residual) / residual.square().mean().clamp_min(1e-12)

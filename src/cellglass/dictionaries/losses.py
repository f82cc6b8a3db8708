"""What training minimises: the error of every level's reconstruction, and the loss that revives dead latents.

Scaled units throughout, so that losses are comparable between sites. Pure functions of a dictionary and a batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from cellglass.dictionaries.base import Codes
from cellglass.dictionaries.sparse import SparseDictionary, combine
from cellglass.dictionaries.topk import top_k


class Losses(NamedTuple):
    """The losses of a batch.

    Attributes
    ----------
    reconstruction : torch.Tensor, scalar
        Mean over levels of the mean squared error, per dimension.
    residual : torch.Tensor, (n, d)
        What the last level leaves unexplained, without gradient.
    codes : Codes
        Codes of the last level.
    """

    reconstruction: torch.Tensor
    residual: torch.Tensor
    codes: Codes


def reconstruction_losses(dictionary: SparseDictionary, u: torch.Tensor, pre: torch.Tensor) -> Losses:
    """Return the losses of scaled inputs `u` with pre-activations `pre`."""
    levels = dictionary.levels()
    errors = []
    for prefix, k in levels[:-1]:
        codes = top_k(pre[:, :prefix], k)
        errors.append((combine(codes, dictionary.decoder[:prefix]) + dictionary.bias - u).square().mean())
    codes = dictionary.select(pre)
    miss = u - combine(codes, dictionary.decoder) - dictionary.bias
    errors.append(miss.square().mean())
    return Losses(torch.stack(errors).mean(), miss.detach(), codes)


def auxiliary_loss(
    dictionary: SparseDictionary, pre: torch.Tensor, residual: torch.Tensor, dead: torch.Tensor, k: int
) -> torch.Tensor:
    """Return how badly the dead latents explain the residual, relative to its size (Gao et al. 2024, section 3).

    Of the latents in `dead` (positions) the `k` with the largest pre-activations reconstruct `residual`; latents that
    never win a place in the selection get a gradient by this and come back where something is left unexplained.
    """
    codes = top_k(pre[:, dead], min(k, len(dead)))
    miss = combine(codes, dictionary.decoder[dead]) - residual
    return miss.square().mean() / residual.square().mean().clamp_min(1e-12)

r"""How much of the model's own loss a reconstruction keeps: the site is replaced, and the model runs on from there.

    share kept = (L(mean) - L(x_hat)) / (L(mean) - L(x))

L(a) is the model's loss with `a` in place of the site's activation: of scVI the reconstruction term of the ELBO,
-log p(counts | z), in nats a cell. x is the activation as it is (share 1), x_hat the dictionary's reconstruction, and
the floor is one vector for all cells, the site's mean over cells that are not scored (share 0). As the loss recovered
of language models (Bricken et al. 2023). Variance explained weighs directions of the site by how much they vary; this
weighs them by what the model's output makes of them. Fits nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.base import CellModel


class LossKept(NamedTuple):
    """Losses a cell, and the share that is kept.

    Attributes
    ----------
    share : float
        NaN where the site does not lower the loss below that of its mean.
    whole, replaced, floor : float
        Loss with the site as it is, replaced by the reconstruction, and by the mean.
    n : int
        Number of cells.
    """

    share: float
    whole: float
    replaced: float
    floor: float
    n: int


def loss_kept(
    model: CellModel, site: str, cells: Cells, x: torch.Tensor, x_hat: torch.Tensor, mean: torch.Tensor
) -> LossKept:
    """Measure how much of the model's loss a reconstruction of a site keeps.

    Parameters
    ----------
    model : CellModel
        One with a `reconstruction_loss`.
    site : str
        A site from which it decodes.
    cells : Cells
        Cells that neither the dictionary nor `mean` was fitted to.
    x, x_hat : torch.Tensor, shape (n_cells, width)
        Their activations, and the reconstructions.
    mean : torch.Tensor, shape (width,)
        The floor.

    Raises
    ------
    InputError
        If shapes differ, or the model has no such loss.
    """
    if not x.shape == x_hat.shape == (cells.n_cells, len(mean)):
        raise InputError(
            f"there are {cells.n_cells} cells, activations of shape {tuple(x.shape)}, reconstructions of shape "
            f"{tuple(x_hat.shape)} and a mean of {len(mean)} numbers; give all for the same cells and site"
        )
    whole, replaced, floor = (
        model.reconstruction_loss(site, a, cells) for a in (x, x_hat, mean.expand(cells.n_cells, -1))
    )
    gain = floor - whole
    return LossKept((floor - replaced) / gain if gain > 0 else float("nan"), whole, replaced, floor, cells.n_cells)

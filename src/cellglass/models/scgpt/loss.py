"""What a step of scGPT's training is given and asked for, and the losses (Cui et al. 2024). Trains nothing itself.

A step takes some cells, of each at most `Training.tokens` gene tokens drawn at random, and hides the values of a share
of them (their genes stay). Two heads are asked for values in bins, and both losses are mean squared errors:

    expression head (gene expression prediction, GEP)    the hidden values, from the tokens' own hidden states
    cell head (GEP for cell modelling, GEPC or MVC)      the values of `Training.cell_genes` genes of the vocabulary,
                                                         0 where a cell does not count them, from <cls> alone

Pretraining as published asks the cell head for the hidden values only, which are never 0; with hundreds of cells in
place of 33 million, what says most about a cell is which genes it does not count, and the published fine-tuning asks
for those too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from cellglass.errors import InputError
from cellglass.models.scgpt.config import ScgptConfig
from cellglass.models.scgpt.net import ScgptNet
from cellglass.models.transformer.tokens import Ints, TokenLists


@dataclass(frozen=True)
class Training:
    """How a small scGPT is trained.

    Attributes
    ----------
    epochs : int
        Passes over the cells; 0 leaves the network as it starts.
    batch : int
        Cells of a step.
    tokens : int
        Gene tokens of a cell in a step at most; of more, as many are drawn anew each time.
    mask_ratio : float
        Chance that a token's value is hidden.
    cell_genes : int
        Genes that the cell head is asked for in a step; of a smaller vocabulary all.
    learning_rate : float
        The highest.
    """

    epochs: int = 8
    batch: int = 32
    tokens: int = 256
    mask_ratio: float = 0.4
    cell_genes: int = 1024
    learning_rate: float = 2e-3

    def __post_init__(self) -> None:
        for name, least in {"epochs": 0, "batch": 1, "tokens": 1, "cell_genes": 1}.items():
            if getattr(self, name) < least:
                raise InputError(f"scGPT training: {name} is {getattr(self, name)}; it must be at least {least}")
        if not 0 < self.mask_ratio < 1:
            raise InputError(f"scGPT training: mask_ratio is {self.mask_ratio}; it must lie between 0 and 1")
        if not self.learning_rate > 0:
            raise InputError(f"scGPT training: learning_rate is {self.learning_rate}; it must be above 0")


class Step(NamedTuple):
    """What the network is given in a step, and asked for; n cells, t tokens wide.

    Attributes
    ----------
    ids, given, mask : torch.Tensor, (n, t)
        Tokens, their values before any is hidden, and True where there is a token.
    hide : torch.Tensor, bool, (n, t)
        Whose values are hidden.
    genes : torch.Tensor, int64, (g,)
        The tokens that the cell head is asked for.
    wanted : torch.Tensor, float32, (n, g)
        Their values in each cell.
    """

    ids: torch.Tensor
    given: torch.Tensor
    mask: torch.Tensor
    hide: torch.Tensor
    genes: torch.Tensor
    wanted: torch.Tensor


def draw(
    cfg: ScgptConfig,
    gene_ids: Ints,
    tokens: TokenLists,
    bins: sp.csr_matrix,
    rows: Ints,
    how: Training,
    rng: np.random.Generator,
) -> Step:
    """Return the step of the cells `rows`, on the CPU: their tokens, or some of them, and what is asked for.

    `gene_ids` is the token of each gene, (n_genes,); `bins` holds the binned counts, (n_cells, n_genes).
    """
    batch = tokens.padded(rows, cfg.pad_id, float(cfg.pad_value))
    ids, values, mask = batch.ids, batch.value, batch.mask
    assert values is not None, "scGPT's tokens have values"  # noqa: S101
    if ids.shape[1] > how.tokens + 1:
        order = rng.random(ids.shape)
        order[:, 0] = -1.0  # <cls> stays first
        order[~mask.numpy()] = 2.0
        chosen = torch.from_numpy(np.argsort(order, axis=1, kind="stable")[:, : how.tokens + 1])
        ids, values, mask = ids.gather(1, chosen), values.gather(1, chosen), mask.gather(1, chosen)
    hide = torch.from_numpy(rng.random(ids.shape) < how.mask_ratio) & mask
    hide[:, 0] = False
    n_genes = len(gene_ids)
    genes = np.sort(rng.choice(n_genes, how.cell_genes, replace=False)) if n_genes > how.cell_genes else slice(None)
    wanted = torch.from_numpy(bins[rows][:, genes].toarray())
    return Step(ids, values, mask, hide, torch.from_numpy(gene_ids[genes]), wanted)


def losses(net: ScgptNet, step: Step, unit: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean squared errors of the expression head and of the cell head, both in units of `unit` bins."""
    given = step.given.masked_fill(step.hide, float(net.cfg.mask_value))
    hidden, expression = net(step.ids, given, step.mask)
    assert expression is not None, "a network in training has the head"  # noqa: S101
    own = ((expression - step.given / unit) * step.hide).square().sum() / step.hide.sum().clamp_min(1)
    return own, (net.from_cell(hidden[:, 0], step.genes) - step.wanted / unit).square().mean()


# -- the unit of values ------------------------------------------------------------------------------------------------


def unit_of(cfg: ScgptConfig) -> float:
    """Return the standard deviation of evenly filled bins: what heads predict in while they are trained.

    Fresh heads give numbers near 1, bins go to 50, and Adam moves every weight by the same small step, whatever it is
    missing. In units of this size heads are near their targets from the start.
    """
    return (cfg.n_bins - 1) / math.sqrt(12)


def start_small(net: ScgptNet) -> None:
    """Make fresh heads say little: the cell head's products of two vectors are otherwise several units large."""
    with torch.no_grad():
        net.mvc_decoder.W.weight.mul_(0.1)


def in_bins(net: ScgptNet) -> None:
    """Let heads that were trained in units give bins: both end in a linear map, which takes the factor."""
    last = net.decoder.fc[4]
    with torch.no_grad():
        for weight in (*last.parameters(), net.mvc_decoder.W.weight):
            weight.mul_(unit_of(net.cfg))

"""Gradients along the ways of tokens, for models that read a cell as tokens: each gene's part of a pair's difference.

    effect_g = sum over tokens j of g of sum over steps s of weight_s df/du_j (t_s, ..., t_s)

The formula and its ends are in ``gradients.py``, the ways in `cellglass.models.line`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from cellglass.attribution.work import Subject
from cellglass.models.base import CellModel
from cellglass.models.transformer.tokens import batches_by_length

Array = np.ndarray[Any, Any]
_TOKENS = 4096
"""Tokens whose gradients are held at once, padding included."""


def reads_tokens(model: CellModel) -> bool:
    """Say whether paths through a model run through its tokens."""
    return type(model).line is not CellModel.line


def along_tokens(
    subject: Subject, prototype: Array, partner: Array, read: Any, at: torch.Tensor, weight: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return effects, not yet as shares, float32 (n, n_genes), and the readout at partner and prototype, (2, n).

    Where the one step is the prototype, the partner is not run, and its readout is NaN.

    Parameters
    ----------
    subject : Subject
    prototype, partner : int64, shape (n,)
        Positions of cells.
    read : callable, ((n, width), (n,)) -> (n,)
        The readout f of activations, for pairs by number.
    at, weight : torch.Tensor, shape (steps,)
        Where on the way gradients are taken, 0 to 1, and how much each counts.
    """
    counts = subject.cells.counts
    effects = torch.zeros(len(prototype), subject.cells.n_genes)
    ends = torch.zeros(2, len(prototype))
    lengths = np.diff(counts.indptr)
    for chosen in batches_by_length(lengths[prototype] + lengths[partner], _TOKENS):
        line = subject.model.line(subject.site, subject.cells, prototype[chosen], partner[chosen])
        assert line is not None, "paths were asked of a model that has a line"  # noqa: S101
        pairs = torch.from_numpy(chosen)
        parts = torch.zeros(line.gene.shape)

        def f(u: torch.Tensor, line: Any = line, pairs: torch.Tensor = pairs) -> torch.Tensor:
            value: torch.Tensor = read(line.read(u).cpu(), pairs)
            return value

        at_ends: dict[float, torch.Tensor] = {}
        for position, share in zip(at.tolist(), weight.tolist(), strict=True):
            u = torch.full(line.gene.shape, position, device=line.gene.device).requires_grad_()
            with torch.enable_grad():
                value = f(u)
                parts += share * torch.autograd.grad(value.sum(), u)[0].cpu()
            at_ends[position] = value.detach()
        gene = line.gene.cpu()
        of_gene = torch.zeros(len(chosen), subject.cells.n_genes)
        of_gene.scatter_add_(1, gene.clamp_min(0), torch.where(gene >= 0, parts, 0.0))
        effects[pairs] = of_gene
        if at.tolist() == [1.0]:  # the gradient at the prototype alone: nothing is to be added up
            at_ends[0] = torch.full((len(chosen),), torch.nan)
        with torch.no_grad():
            for end in (0, 1):
                if end not in at_ends:
                    at_ends[end] = f(torch.full(line.gene.shape, float(end), device=line.gene.device))
                ends[end, pairs] = at_ends[end]
    return effects, ends

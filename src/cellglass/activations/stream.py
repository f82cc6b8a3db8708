"""Activations straight from a model into a training, without a store: a model pass for every pass of the training.

What costs more depends on the model: a store is read many times and computed once, a stream takes no disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.base import CellModel
from cellglass.seeds import derive, generator


def stream(
    model: CellModel, cells: Cells, site: str, *, batch_size: int = 1024, draw: bool = True, seed: int = 0
) -> Callable[[int], Iterator[torch.Tensor]]:
    """Return a function that yields the activations of all cells in random order, for the number of a pass.

    Of a site with one row for each gene of a cell, the rows of a batch of cells are shuffled among each other.

    Parameters
    ----------
    model
        Gives the activations; it aligns the cells to its genes.
    cells
        Cells with raw counts; memory holds one batch of them.
    site
        A site of the model.
    batch_size
        Cells that are run at once.
    draw
        Where the model has a posterior at the site, give mean + sd * eps, eps standard normal, anew in each pass.
    seed
        Of the order and the draws: the same seed and pass give the same rows.

    Examples
    --------
    >>> rows = stream(model, cells, "z")  # doctest: +SKIP
    >>> dictionary = train(TopK(TopKConfig(20, 128, 12)), rows)  # doctest: +SKIP
    """
    of_tokens = model.site(site).granularity == "token"
    if not cells.n_cells:
        raise InputError(f"{cells.source}: there are no cells to stream activations of")

    def rows_of(number: int) -> Iterator[torch.Tensor]:
        order = generator(seed, "stream", number).permutation(cells.n_cells)
        for start in range(0, cells.n_cells, batch_size):
            rows = np.sort(order[start : start + batch_size])  # memory-mapped cells are read front to back
            noise = torch.Generator().manual_seed(derive(seed, "stream draw", number, start))
            for batch in model.batches(cells[rows], batch_size):
                if of_tokens:
                    with torch.no_grad():
                        values = model.token_activations(batch, [site])[site].values
                    yield values[torch.randperm(len(values), generator=noise)]
                    continue
                yield _activations(model, batch, site, noise if draw else None)

    return rows_of


@torch.no_grad()
def _activations(model: CellModel, batch: Cells, site: str, noise: torch.Generator | None) -> torch.Tensor:
    found = model.posterior(batch, site) if noise is not None else None
    if found is None or noise is None:
        return model.activations(batch, [site])[site]
    mean, sd = found
    return mean + sd * torch.randn(mean.shape, generator=noise)

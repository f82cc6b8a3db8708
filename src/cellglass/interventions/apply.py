"""From moved activations to genes: the model's own decoder, averaged over cells.

Where a model decodes expected counts y, the expression of gene g in some cells is the mean share of a cell's counts,

    m_g = mean over cells of y_g / (sum over genes of y),        change_g = log(1 + 10^4 m'_g) - log(1 + 10^4 m_g)

and that of real cells is the same of their counts, so that noise is averaged before the logarithm is taken. Where it
decodes no counts (scGPT: the value of each gene, in bins), the change is m'_g - m_g of the decoded values, and is on
another scale than the real one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from cellglass.activations.rows import Ints, Rows
from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.interventions.controls import Way
from cellglass.models.base import CellModel
from cellglass.progress import Progress, silent

Array = np.ndarray[Any, Any]

SCALE = 1e4
_CELLS = 256


def check_decodes(model: CellModel, site: str) -> None:
    """Raise InputError where the site has a row for each gene, or the model decodes nothing from it."""
    if model.site(site).granularity != "cell":
        raise InputError(
            f"{site} has one row for each gene of a cell; interventions are decoded from sites with one row for each "
            "cell, such as " + ", ".join(name for name, one in model.sites.items() if one.granularity == "cell")
        )
    model.require("decode", site)


def expression(model: CellModel, decoded: torch.Tensor) -> torch.Tensor:
    """Return decoded values as ``m`` of single cells, float64 (n, n_genes): shares of counts, or values as they are."""
    values = decoded.double()
    if model.decoded_unit != "counts":
        return values
    return values / values.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)


def change_of(before: Array, after: Array, *, counts: bool = True) -> Array:
    """Return the change of each gene between two mean expressions, see the module's docstring."""
    if not counts:
        return after - before
    difference: Array = np.log1p(SCALE * after) - np.log1p(SCALE * before)
    return difference


def mean_expression(cells: Cells, chosen: Ints) -> Array:
    """Return the mean share of counts of each gene in real cells, float64 (n_genes,); cells without counts are 0."""
    total = np.zeros(cells.n_genes)
    for start in range(0, len(chosen), _CELLS):
        counts = cells.counts[chosen[start : start + _CELLS]]
        sums = np.maximum(np.asarray(counts.sum(axis=1), dtype=np.float64).ravel(), 1.0)
        total += np.asarray(counts.T @ (1 / sums)).ravel()
    return total / max(len(chosen), 1)


def real_change(cells: Cells, a: Ints, b: Ints) -> Array:
    """Return how the mean expression of real cells `b` differs from that of `a`, float64 (n_genes,)."""
    return change_of(mean_expression(cells, a), mean_expression(cells, b))


def decoded_changes(
    model: CellModel,
    site: str,
    rows: Rows,
    cells: Cells,
    chosen: Ints,
    ways: Sequence[Way],
    doses: Sequence[float],
    *,
    progress: Progress = silent,
) -> tuple[Array, Array]:
    """Move the activations of cells in every way and dose, and decode what becomes of their expression.

    Parameters
    ----------
    model : CellModel
        Decodes from `site`.
    site : str
        With one row for each cell.
    rows : Rows
        Its activations, row i of cell i.
    cells : Cells
        Aligned to the model; carry covariates.
    chosen : int64, (n,)
        Cells that are moved.
    ways : sequence of Way
    doses : sequence of float
    progress : Progress

    Returns
    -------
    numpy.ndarray of float64, (n_ways, n_doses, n_genes)
        Change of the mean expression, against that which is decoded from the cells as they are.
    numpy.ndarray of float64, (n_ways, n_doses)
        Mean length of what was added to a cell.

    Raises
    ------
    InputError
        Where `check_decodes` does, or no cells are chosen.
    """
    check_decodes(model, site)
    if not len(chosen):
        raise InputError("there are no cells to move; choose at least one")
    sums = np.zeros((len(ways), len(doses), len(model.genes)))
    moved, base = np.zeros((len(ways), len(doses))), np.zeros(len(model.genes))
    for done, (x, decode) in enumerate(_pieces(model, site, rows, cells, chosen)):
        base += decode(x)
        for i, way in enumerate(ways):
            for j, dose in enumerate(doses):
                step = way.move(x, dose)
                moved[i, j] += float(step.double().norm(dim=1).sum())
                sums[i, j] += decode(x + step)
        progress("decode", min((done + 1) * _CELLS, len(chosen)), len(chosen))
    n = len(chosen)
    return change_of(base / n, sums / n, counts=model.decoded_unit == "counts"), moved / n


def _pieces(
    model: CellModel, site: str, rows: Rows, cells: Cells, chosen: Ints
) -> Iterator[tuple[torch.Tensor, Callable[[torch.Tensor], Array]]]:
    """Yield some cells' activations, and what decodes moved ones to the sum of their expression."""
    for start in range(0, len(chosen), _CELLS):
        part = np.asarray(chosen[start : start + _CELLS])
        some = cells[part]

        def decode(x: torch.Tensor, some: Cells = some) -> Array:
            with torch.no_grad():
                found: Array = expression(model, model.decode(site, x, some)).sum(dim=0).numpy()
            return found

        yield rows.read(part), decode

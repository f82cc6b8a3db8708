"""Which genes vary between cells by more than chance: the ones that a model is fitted on. Changes no cells."""

from __future__ import annotations

import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.seeds import generator

if TYPE_CHECKING:
    from anndata import AnnData

log = logging.getLogger(__name__)

_POINTS = 20
"""How many genes must vary in each batch for a trend to be fitted: with 3 or fewer, loess crashes the interpreter."""

Positions = np.ndarray[Any, np.dtype[np.int64]]


def variable_genes(
    cells: Cells, n: int, *, seed: int = 0, batch: str | None = None, max_cells: int = 20_000
) -> Positions:
    """Return the positions of the `n` most variable genes, ascending.

    Genes are ranked by the variance of their counts after standardisation by the trend of variance over mean (scanpy's
    flavour ``seurat_v3``; Stuart et al., Cell 2019); where that trend cannot be fitted, by the variance of Pearson
    residuals (Lause et al., Genome Biology 2021). Genes that fewer than max(3, 0.1 %) of the cells express are left
    out first.

    Parameters
    ----------
    cells : Cells
    n : int
        How many; all usable genes where there are no more.
    seed : int
        Which cells are looked at where there are more than `max_cells`.
    batch : str, optional
        Column of obs: genes are ranked within each batch, and chosen by how many batches choose them.
    max_cells : int
        Bounds time and memory.
    """
    if n < 1:
        raise InputError(f"{cells.source}: {n} variable genes cannot be chosen; ask for at least 1")
    if batch is not None:
        cells.column(batch)
    if cells.n_cells > max_cells:
        rows = generator(seed, "variable genes").choice(cells.n_cells, max_cells, replace=False)
        cells = cells[np.sort(rows)]
    detected = np.bincount(cells.counts.indices, minlength=cells.n_genes)
    usable = np.flatnonzero(detected >= max(3, 0.001 * cells.n_cells))
    if len(usable) == 0:
        raise InputError(f"{cells.source}: no gene is seen in 3 cells or more, so none can be chosen; bring more cells")
    if n >= len(usable):
        return usable.astype(np.int64)
    chosen = _most_variable(cells, usable, n, batch)
    return np.sort(usable[chosen]).astype(np.int64)


def _most_variable(cells: Cells, usable: np.ndarray[Any, Any], n: int, batch: str | None) -> np.ndarray[Any, Any]:
    from anndata import AnnData

    counts = cells.counts[:, usable].tocsr()
    filled = np.flatnonzero(np.diff(counts.indptr))  # a cell without counts has no expected counts either
    cells = cells[filled]
    adata = AnnData(X=counts[filled])
    if batch is not None:
        adata.obs["batch"] = cells.column(batch).astype(str).to_numpy()
    table = _ranked(adata, n, None if batch is None else "batch")
    highest = table["highly_variable"].to_numpy(dtype=bool)
    return np.flatnonzero(highest)


def _ranked(adata: AnnData, n: int, batch: str | None) -> Any:
    import scanpy as sc

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.filterwarnings("ignore", module=r"scanpy\b.*")
        warnings.filterwarnings("ignore", module=r"anndata\b.*")
        try:
            if not _trend_has_points(adata, batch):
                raise ValueError(f"fewer than {_POINTS} genes vary in a batch")
            return sc.pp.highly_variable_genes(adata, n_top_genes=n, flavor="seurat_v3", batch_key=batch, inplace=False)
        except ValueError as error:  # few genes, or many of one mean: the local regression is singular
            log.info("ranked genes by Pearson residuals, since the trend of variance over mean failed: %s", error)
        return sc.experimental.pp.highly_variable_genes(
            adata, n_top_genes=n, flavor="pearson_residuals", batch_key=batch, inplace=False
        )


def _trend_has_points(adata: AnnData, batch: str | None) -> bool:
    groups = np.zeros(adata.n_obs, dtype=np.int64) if batch is None else adata.obs[batch].factorize()[0]
    for group in range(groups.max() + 1):
        counts = adata.X[groups == group]
        mean = np.asarray(counts.mean(axis=0), dtype=np.float64)
        square = np.asarray(counts.multiply(counts).mean(axis=0), dtype=np.float64)
        if (square - mean**2 > 1e-6 * square).sum() < _POINTS:
            return False
    return True

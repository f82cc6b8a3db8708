"""Which genes vary between cells by more than chance: the ones that a model is fitted on. Changes no cells."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cellglass.cells.cells import Cells
from cellglass.cells.strong import marking_genes, name_left_out, pearson_variance
from cellglass.errors import InputError
from cellglass.seeds import generator

if TYPE_CHECKING:
    from anndata import AnnData

log = logging.getLogger(__name__)

_POINTS = 20
"""How many genes must vary in each batch for a trend to be fitted: with 3 or fewer, loess crashes the interpreter."""

Positions = np.ndarray[Any, np.dtype[np.int64]]


_PEARSON_SHARE = 3
"""One of so many of the genes asked for is the number of genes that come in by their Pearson residuals."""


def variable_genes(
    cells: Cells,
    n: int,
    *,
    seed: int = 0,
    batch: str | None = None,
    labels: Sequence[str] = (),
    max_cells: int = 20_000,
) -> Positions:
    """Return the positions of the genes that a model should see, ascending: `n`, and what those would lose.

    The `n` genes are those with the highest variance after standardisation by the trend of variance over mean (scanpy's
    flavour ``seurat_v3``; Stuart et al., Cell 2019); where that trend cannot be fitted, of Pearson residuals (Lause et
    al., Genome Biology 2021). That trend passes over a gene which few cells express very strongly, as a rare type does
    its hormone, and over one that differs between batches. So there come with them

    - the n / 3 genes with the highest variance of Pearson residuals over all cells, whatever their batch;
    - of each value of `labels` the 10 genes with the largest Welch t above 0 (q < 0.05) against all other cells.

    Genes that fewer than max(3, 0.1 %) of the cells express are left out first. Strong genes that are left out all the
    same are named in a warning.

    Parameters
    ----------
    cells : Cells
    n : int
        How many; all usable genes where there are no more.
    seed : int
        Which cells are looked at where there are more than `max_cells`.
    batch : str, optional
        Column of obs: the `n` genes are ranked within each batch, and chosen by how many batches choose them.
    labels : sequence of str
        Columns of obs whose values' genes are kept.
    max_cells : int
        Bounds time and memory.
    """
    if n < 1:
        raise InputError(f"{cells.source}: {n} variable genes cannot be chosen; ask for at least 1")
    for column in (*labels, *([] if batch is None else [batch])):
        cells.column(column)
    if cells.n_cells > max_cells:
        rows = generator(seed, "variable genes").choice(cells.n_cells, max_cells, replace=False)
        cells = cells[np.sort(rows)]
    detected = np.bincount(cells.counts.indices, minlength=cells.n_genes)
    usable = np.flatnonzero(detected >= max(3, 0.001 * cells.n_cells))
    if len(usable) == 0:
        raise InputError(f"{cells.source}: no gene is seen in 3 cells or more, so none can be chosen; bring more cells")
    if n >= len(usable):
        return usable.astype(np.int64)
    spread = pearson_variance(cells, usable)  # (usable,)
    strongest = np.argsort(-spread, kind="stable")[: max(1, n // _PEARSON_SHARE)]
    marking = marking_genes(cells, usable, labels)
    kept = np.unique(np.concatenate([_most_variable(cells, usable, n, batch), strongest, marking]))
    name_left_out(cells, usable, spread, kept)
    return np.sort(usable[kept]).astype(np.int64)


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

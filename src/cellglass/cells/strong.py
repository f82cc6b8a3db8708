"""Genes that a choice by variance may lose: strong ones of rare types, and those that mark a given label."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from cellglass.cells.cells import Cells
from cellglass.statistics import benjamini_hochberg, welch

Positions = np.ndarray[Any, np.dtype[np.int64]]
log = logging.getLogger(__name__)

MARKERS = 10
"""Genes that are kept for each value of a label."""
MOST_VALUES = 200
"""A label with more values is none of cell types."""
STRONG = 5.0
"""Variance of the Pearson residuals from which on a gene that is left out is named; chance gives about 1."""


def pearson_variance(cells: Cells, usable: Positions) -> np.ndarray[Any, Any]:
    """Return the variance over cells of each usable gene's Pearson residuals; 0 where it cannot be computed."""
    import scanpy as sc
    from anndata import AnnData

    counts = cells.counts[:, usable].tocsr()
    counts = counts[np.flatnonzero(np.diff(counts.indptr))]
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.filterwarnings("ignore", module=r"scanpy\b.*")
        warnings.filterwarnings("ignore", module=r"anndata\b.*")
        table = sc.experimental.pp.highly_variable_genes(
            AnnData(X=counts), n_top_genes=len(usable), flavor="pearson_residuals", inplace=False
        )
    return np.asarray(np.nan_to_num(table["residual_variances"].to_numpy(dtype=np.float64)))


def marking_genes(cells: Cells, usable: Positions, labels: Sequence[str]) -> Positions:
    """Return places in `usable` of the genes that mark a value of a label.

    Of each value those are the `MARKERS` genes with the largest Welch t above 0, and q < 0.05 (Benjamini and Hochberg
    over genes), of log(1 + 10,000 count / all counts of the cell) against all other cells. A value with fewer than 3
    cells, or a column with more than `MOST_VALUES` values, has none.
    """
    found = [np.empty(0, dtype=np.int64)]
    columns = [cells.column(name).factorize() for name in labels]
    columns = [column for column in columns if len(column[1]) <= MOST_VALUES]
    if not columns:
        return found[0]
    logs = cells.counts[:, usable].tocsr().astype(np.float64)
    total = np.maximum(np.asarray(logs.sum(axis=1)).ravel(), 1.0)
    logs.data = np.log1p(logs.data * np.repeat(1e4 / total, np.diff(logs.indptr)))
    squares = logs.power(2)
    sums = [np.asarray(x.sum(axis=0)).ravel() for x in (logs, squares)]
    for codes, values in columns:
        for code in range(len(values)):
            inside = np.flatnonzero(codes == code)
            n, m = len(inside), cells.n_cells - len(inside)
            if min(n, m) < 3:
                continue
            of = [np.asarray(x[inside].sum(axis=0)).ravel() for x in (logs, squares)]
            mean, error = _moments(of, n)
            other, other_error = _moments([whole - part for whole, part in zip(sums, of, strict=True)], m)
            tested = welch(mean - other, error, n, other_error, m)
            t = np.where(benjamini_hochberg(tested.p) < 0.05, tested.t, 0.0)
            first = np.argsort(-t, kind="stable")[:MARKERS]
            found.append(first[t[first] > 0])
    return np.concatenate(found)


def _moments(sums: list[np.ndarray[Any, Any]], n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return the mean of n values and the square of its standard error, from their sum and the sum of their squares."""
    mean = sums[0] / n
    return mean, np.maximum(sums[1] / n - mean**2, 0.0) / (n - 1)


def name_left_out(cells: Cells, usable: Positions, spread: np.ndarray[Any, Any], kept: Positions) -> None:
    """Warn, in one line, of genes that vary strongly and are not kept."""
    left = spread.copy()
    left[kept] = 0
    strong = np.flatnonzero(left >= STRONG)
    if len(strong):
        first = strong[np.argsort(-left[strong], kind="stable")][:5]
        names = ", ".join(str(cells.symbols[i]) for i in usable[first])
        log.warning(
            "%s: %d genes that vary strongly are left out, the strongest %s; more variable genes (--genes) keep them",
            *(cells.source, len(strong), names),
        )

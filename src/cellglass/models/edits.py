"""Changes to the raw counts of cells, as one CSR matrix: row i is a given cell with one gene set to a given count."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from cellglass.cells.cells import Cells

Array = np.ndarray[Any, Any]
NAME = "cell before the change"
"""Column of obs in which changed cells carry the names of those that they were."""


def names_of(cells: Cells) -> Array:
    """Return the name of each cell, of a changed one that of the cell that it was: what draws are made by."""
    return np.asarray(cells.obs.get(NAME, cells.obs.index), dtype=object)


def counts_at(counts: sp.csr_matrix, rows: Array, columns: Array) -> Array:
    """Return ``counts[rows[i], columns[i]]`` as float32 (n,).

    Where a dense block of all cells would hold no more numbers than are asked for, it is made: reading from it is
    several times as fast as searching the rows.
    """
    rows, columns = np.asarray(rows), np.asarray(columns)
    if not len(rows):
        return np.zeros(0, dtype=np.float32)
    if counts.shape[0] * counts.shape[1] <= max(4 * len(rows), 1 << 16):
        return np.asarray(counts.toarray()[rows, columns], dtype=np.float32)
    return np.asarray(counts[rows, columns], dtype=np.float32).ravel()


def edited_cells(cells: Cells, cell: Array, gene: Array, count: Array) -> Cells:
    """Return one cell for each change: cell ``cell[i]`` of `cells` with gene ``gene[i]`` at count ``count[i]``.

    The change is added as a sparse difference, so that nothing is made dense.
    """
    taken = cells[np.asarray(cell)]
    rows = np.arange(len(cell))
    before = counts_at(cells.counts, cell, gene)
    difference = sp.csr_matrix(
        (np.asarray(count, dtype=np.float32) - before, (rows, np.asarray(gene))), shape=taken.counts.shape
    )
    counts = (taken.counts + difference).tocsr().astype(np.float32, copy=False)
    counts.eliminate_zeros()
    counts.sort_indices()
    obs = taken.obs.assign(**{NAME: names_of(taken)}).reset_index(drop=True)
    obs.index = obs.index.astype(str)
    return Cells(counts, taken.genes, obs, {}, taken.source)

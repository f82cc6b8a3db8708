"""Writes ``expression.zarr``, the counts that were explained, by column (CSC): one gene is read without the rest.

Counts come by row (CSR), often memory-mapped and larger than memory: they are turned in blocks of columns, each
gathered from blocks of rows, so that memory is bounded by `entries`, not by the number of cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.atlas import schema
from cellglass.atlas.write import zarr_settings
from cellglass.cells.cells import Cells
from cellglass.files import atomic_path

CHUNK = 1 << 18
Array = np.ndarray[Any, Any]


def write_expression(folder: Path | str, cells: Cells, *, entries: int = 1 << 24) -> Path:
    """Write the counts of `cells` as an AnnData whose X is CSC.

    Gene ids index ``var``, with their ``symbol`` and the other names that are known; ``total`` of ``obs`` sums the
    counts of each cell, so that they need not be passed over to be normalised.

    Parameters
    ----------
    entries : int
        Counts that are held in memory at once, about 24 bytes each.
    """
    import zarr
    from anndata.io import write_elem

    target = Path(folder) / schema.EXPRESSION
    obs = pd.DataFrame({schema.TOTAL: cells.totals}, index=cells.obs.index.astype(str))
    var = pd.DataFrame({"symbol": cells.symbols.astype(str)}, index=cells.genes.index.astype(str))
    for name in {"ensembl", "alias"} & set(cells.genes):  # other names, by which the search finds a gene
        var[name] = cells.genes[name].fillna("").astype(str).to_numpy()
    obs.index.name = var.index.name = None
    per_column = column_sizes(cells.counts, entries)
    starts = np.concatenate([[0], np.cumsum(per_column)])
    with atomic_path(target) as temporary, zarr_settings():
        group = zarr.open_group(str(temporary), mode="w", zarr_format=3)
        group.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
        write_elem(group, "obs", obs)
        write_elem(group, "var", var)
        for name in ("obsm", "varm", "obsp", "varp", "layers", "uns"):
            write_elem(group, name, {})
        matrix = group.create_group("X")
        shape = [int(size) for size in cells.counts.shape]
        matrix.attrs.update({"encoding-type": "csc_matrix", "encoding-version": "0.1.0", "shape": shape})
        matrix.create_array("indptr", data=starts.astype(np.int64))
        size = (int(starts[-1]),)
        data = matrix.create_array("data", shape=size, chunks=(CHUNK,), dtype="float32")
        indices = matrix.create_array("indices", shape=size, chunks=(CHUNK,), dtype="int32")
        at = 0
        for block in column_blocks(cells.counts, per_column, entries):
            data[at : at + block.nnz] = block.data.astype(np.float32, copy=False)
            indices[at : at + block.nnz] = block.indices.astype(np.int32, copy=False)
            at += block.nnz
    return target


def column_sizes(counts: sp.csr_matrix, entries: int) -> Array:
    """Return the number of stored counts in each column."""
    sizes = np.zeros(counts.shape[1], dtype=np.int64)
    for start in range(0, len(counts.indices), entries):
        sizes += np.bincount(np.asarray(counts.indices[start : start + entries]), minlength=len(sizes))
    return sizes


def column_blocks(counts: sp.csr_matrix, sizes: Array, entries: int) -> Iterator[sp.csc_matrix]:
    """Yield consecutive columns of `counts` as CSC matrices of at most `entries` counts, or of one column."""
    first = 0
    while first < len(sizes):
        within = np.cumsum(sizes[first:]) <= entries
        last = first + max(1, int(within.sum()))
        yield _gather(counts, first, last, entries)
        first = last


def _gather(counts: sp.csr_matrix, first: int, last: int, entries: int) -> sp.csc_matrix:
    rows, columns, values = [], [], []
    for start in range(0, len(counts.indices), entries):
        column = np.asarray(counts.indices[start : start + entries])
        inside = np.flatnonzero((column >= first) & (column < last))
        rows.append((np.searchsorted(counts.indptr, start + inside, side="right") - 1).astype(np.int32))
        columns.append(column[inside].astype(np.int32) - np.int32(first))
        values.append(np.asarray(counts.data[start : start + entries])[inside])
    shape = (counts.shape[0], last - first)
    if not rows:
        return sp.csc_matrix(shape, dtype=np.float32)
    block = sp.coo_matrix(
        (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape
    ).tocsc()
    block.sort_indices()
    return block

"""Writes ``expression.zarr``, the counts that were explained, by column (CSC): one gene is read without the rest.

Counts come by row (CSR), often memory-mapped and larger than memory. They are read once, in blocks of rows, each of
which is turned and appended to one file for each block of columns; these are then put together one by one. So memory is
bounded by `entries` and time grows with the counts, not with their square.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import pairwise
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
_KEPT = {"rows": np.int32, "data": np.float32}
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
        for block in column_blocks(cells.counts, per_column, entries, temporary / "turning"):
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


def column_blocks(counts: sp.csr_matrix, sizes: Array, entries: int, scratch: Path) -> Iterator[sp.csc_matrix]:
    """Yield consecutive columns of `counts` as CSC matrices of at most `entries` counts, or of one column.

    The folder `scratch` is made where there are several, and removed in the end.
    """
    edges = _edges(sizes, entries)
    if len(edges) <= 2:
        yield counts.tocsc() if len(sizes) else sp.csc_matrix(counts.shape, dtype=np.float32)
        return
    scratch.mkdir()
    lengths = [_turn(piece, first, edges, scratch) for first, piece in _pieces(counts, entries)]
    for number, (low, high) in enumerate(pairwise(edges)):
        own = np.array([piece[low:high] for piece in lengths], dtype=np.int64).reshape(-1, high - low)
        yield _joined(scratch, number, own, counts.shape[0])
    shutil.rmtree(scratch)


def _edges(sizes: Array, entries: int) -> list[int]:
    """Return where blocks of columns begin, and the number of columns."""
    edges, ends = [0], np.cumsum(sizes)
    while edges[-1] < len(sizes):
        before = ends[edges[-1] - 1] if edges[-1] else 0
        edges.append(max(edges[-1] + 1, int(np.searchsorted(ends, before + entries, side="right"))))
    return edges


def _pieces(counts: sp.csr_matrix, entries: int) -> Iterator[tuple[int, sp.csr_matrix]]:
    """Yield consecutive rows of at most `entries` counts, or one row, with the number of the first."""
    first = 0
    while first < counts.shape[0]:
        last = int(np.searchsorted(counts.indptr, counts.indptr[first] + entries, side="right")) - 1
        last = max(first + 1, last)
        yield first, counts[first:last]
        first = last


def _turn(piece: sp.csr_matrix, first: int, edges: list[int], scratch: Path) -> Array:
    """Append the columns of some rows to the files of their blocks; return how many counts each column has."""
    turned = piece.tocsc()
    for number, (low, high) in enumerate(pairwise(edges)):
        part = slice(turned.indptr[low], turned.indptr[high])
        for name, values in (("rows", turned.indices[part] + first), ("data", turned.data[part])):
            with (scratch / f"{number}.{name}").open("ab") as file:
                values.astype(_KEPT[name]).tofile(file)
    return np.asarray(np.diff(turned.indptr), dtype=np.int32)


def _joined(scratch: Path, number: int, lengths: Array, n_rows: int) -> sp.csc_matrix:
    """Return a block of columns from its files; `lengths` has a row for each piece, (pieces, columns)."""
    ends = np.concatenate([[0], np.cumsum(lengths.sum(axis=0))])
    starts = ends[:-1] + np.cumsum(lengths, axis=0) - lengths  # of each piece in each column
    place = np.repeat(starts.ravel(), lengths.ravel()) + _counted(lengths.ravel())
    found = {}
    for name, dtype in _KEPT.items():
        path = scratch / f"{number}.{name}"
        found[name] = np.empty(ends[-1], dtype=dtype)
        found[name][place] = np.fromfile(path, dtype=dtype)
        path.unlink()
    return sp.csc_matrix((found["data"], found["rows"], ends), shape=(n_rows, lengths.shape[1]))


def _counted(lengths: Array) -> Array:
    """Return 0, 1, ... up to each length, one after the other."""
    return np.asarray(np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths))

"""A matrix of cells x genes as a stream of CSR blocks of consecutive cells, so that it never has to fit into memory.

Three layouts: compressed by row (CSR; a 10x file is one too), dense, and entries in any order (CSC, Matrix Market),
which are first scattered to rows in two passes. Arrays may be NumPy, memory-mapped, h5py or zarr. It judges no values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import scipy.sparse as sp

BLOCK_ENTRIES = 1 << 21
"""Stored entries (of a dense matrix: elements) that one block holds at most, if a single cell holds no more."""

Guard = Callable[[], AbstractContextManager[None]]
Array = np.ndarray[Any, Any]
Entries = tuple[Array, Array, Array]


class Source(Protocol):
    """A matrix that can be read from its first cell to its last."""

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""

    @property
    def entries(self) -> int:
        """How many entries come at most."""

    def blocks(self, scratch: Path | None = None) -> Iterator[sp.csr_matrix]:
        """Yield the rows as consecutive canonical CSR blocks; files that it needs meanwhile go into `scratch`."""


@dataclass
class Rows:
    """A matrix that is compressed by row: row i is ``data[indptr[i]:indptr[i + 1]]`` at columns ``indices[...]``."""

    data: Any
    indices: Any
    indptr: Any
    shape: tuple[int, int]
    guard: Guard = nullcontext

    @property
    def entries(self) -> int:
        """Number of stored entries."""
        return int(self.data.shape[0])

    def blocks(self, scratch: Path | None = None) -> Iterator[sp.csr_matrix]:  # noqa: ARG002
        """Yield the rows as consecutive canonical CSR blocks."""
        with self.guard():
            indptr = _checked_indptr(self.indptr, self.shape[0], self.entries)
        for start, stop in spans(indptr):
            with self.guard():
                low, high = int(indptr[start]), int(indptr[stop])
                values = _plain(np.asarray(self.data[low:high]))
                columns = np.asarray(self.indices[low:high])
                _check_range(columns, self.shape[1])
            pointer = indptr[start : stop + 1] - low
            block = sp.csr_matrix((values, columns, pointer), shape=(stop - start, self.shape[1]), copy=True)
            block.sum_duplicates()
            yield block


@dataclass
class Dense:
    """A dense matrix; read in as many rows at a time as its chunks or `BLOCK_ENTRIES` suggest."""

    values: Any
    guard: Guard = nullcontext

    @property
    def shape(self) -> tuple[int, int]:
        """Cells and genes."""
        return int(self.values.shape[0]), int(self.values.shape[1])

    @property
    def entries(self) -> int:
        """Number of elements: a bound on the stored entries."""
        return self.shape[0] * self.shape[1]

    def blocks(self, scratch: Path | None = None) -> Iterator[sp.csr_matrix]:  # noqa: ARG002
        """Yield the rows as consecutive canonical CSR blocks."""
        n_cells, n_genes = self.shape
        size = max(1, BLOCK_ENTRIES // max(1, n_genes))
        chunk = (getattr(self.values, "chunks", None) or (1,))[0]
        if 1 < chunk < 8 * size:  # whole chunks, else each would be unpacked several times
            size = max(1, size // chunk) * chunk
        for start in range(0, n_cells, size):
            with self.guard():
                values = _plain(np.asarray(self.values[start : start + size]))
            yield sp.csr_matrix(values)


@dataclass
class Scattered:
    """A matrix that is given as entries in any order: `read` yields (rows, columns, values) anew at each call.

    Two passes: the first counts the entries of each row, the second puts each entry into its place.
    """

    read: Callable[[], Iterator[Entries]]
    shape: tuple[int, int]
    entries: int
    dtype: np.dtype[Any]
    guard: Guard = nullcontext

    def blocks(self, scratch: Path | None = None) -> Iterator[sp.csr_matrix]:
        """Yield the rows as consecutive canonical CSR blocks; the rows are gathered in `scratch`, or in memory."""
        counts = np.zeros(self.shape[0], dtype=np.int64)
        for rows, columns, _ in self.read():
            with self.guard():
                _check_range(rows, self.shape[0])
                _check_range(columns, self.shape[1])
            counts += np.bincount(rows, minlength=self.shape[0])
        indptr = np.concatenate([[0], np.cumsum(counts)])
        data = _room(scratch, "data", int(indptr[-1]), self.dtype)
        indices = _room(scratch, "indices", int(indptr[-1]), np.dtype(np.int32))
        place = indptr[:-1].copy()
        for rows, columns, values in self.read():
            order, lengths = _by_row(rows, self.shape[0])
            first = np.cumsum(lengths) - lengths
            where = np.repeat(place - first, lengths) + np.arange(len(rows))
            data[where] = values[order]
            indices[where] = columns[order]
            place += lengths
        yield from Rows(data, indices, indptr, self.shape).blocks()


def columns_source(
    data: Any, indices: Any, indptr: Any, shape: tuple[int, int], guard: Guard = nullcontext
) -> Scattered:
    """Return the source of a matrix that is compressed by column (CSC)."""

    def read() -> Iterator[Entries]:
        with guard():
            pointer = _checked_indptr(indptr, shape[1], int(data.shape[0]))
        for start, stop in spans(pointer):
            with guard():
                low, high = int(pointer[start]), int(pointer[stop])
                values = _plain(np.asarray(data[low:high]))
                rows = np.asarray(indices[low:high])
            columns = np.repeat(np.arange(start, stop), np.diff(pointer[start : stop + 1]))
            yield rows, columns, values

    with guard():
        dtype = _plain(np.zeros(0, dtype=data.dtype)).dtype
    return Scattered(read, shape, int(data.shape[0]), dtype, guard)


def spans(indptr: Array) -> Iterator[tuple[int, int]]:
    """Yield (start, stop) of consecutive rows that hold at most `BLOCK_ENTRIES` entries, and at least one row each."""
    start, n = 0, len(indptr) - 1
    while start < n:
        stop = int(np.searchsorted(indptr, indptr[start] + BLOCK_ENTRIES, side="right")) - 1
        stop = min(max(stop, start + 1), n, start + BLOCK_ENTRIES)
        yield start, stop
        start = stop


def _by_row(rows: Array, n_rows: int) -> tuple[Array, Array]:
    """Return the stable order that sorts `rows`, and how often each occurs; linear, as a transposition is."""
    n = len(rows)
    entries = sp.csc_matrix((np.ones(n, dtype=np.int8), rows, np.arange(n + 1)), shape=(n_rows, n)).tocsr()
    return entries.indices, np.diff(entries.indptr).astype(np.int64)


def _checked_indptr(indptr: Any, n_rows: int, entries: int) -> Array:
    pointer = np.asarray(indptr[:]).astype(np.int64)
    if len(pointer) != n_rows + 1 or pointer[0] != 0 or pointer[-1] != entries or (np.diff(pointer) < 0).any():
        raise ValueError("the row pointers of a sparse matrix do not fit its entries")
    return pointer


def _check_range(positions: Array, n: int) -> None:
    if len(positions) and not (positions.min() >= 0 and positions.max() < n):
        raise ValueError(f"a sparse matrix names position {positions.max()} of {n}")


def _plain(values: Array) -> Array:
    """Return numbers in a type and byte order that scipy's sparse matrices take."""
    if values.dtype.kind not in "biuf":
        raise ValueError(f"a matrix holds no numbers but values of type {values.dtype}")
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype == np.float16:
        return values.astype(np.float32)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def _room(scratch: Path | None, name: str, n: int, dtype: np.dtype[Any]) -> Array:
    if scratch is None or n == 0:
        return np.empty(n, dtype=dtype)
    scratch.mkdir(parents=True, exist_ok=True)
    return np.lib.format.open_memmap(scratch / f"{name}.npy", mode="w+", dtype=dtype, shape=(n,))

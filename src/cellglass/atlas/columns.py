"""A sparse matrix of an atlas (CSC, in zarr), read column by column or block by block, in bounded memory.

Of the matrix only where its columns begin is held; what a column holds is read when it is asked for, and checked: rows
that are there, each once, values that are finite. A chunk that is lost reads as zeros, so where no zero is stored, one
is a sign of that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellglass.atlas.reading import AGAIN, reading
from cellglass.errors import DamagedError

Array = np.ndarray[Any, Any]

BLOCK = 1 << 21
"""Stored entries that are read at once, 16 MiB, unless one column alone has more."""


class Column(NamedTuple):
    """The cells in which a column is not zero, int32 ascending, and its values there, float32."""

    rows: Array
    values: Array


class Block(NamedTuple):
    """Some columns of a matrix that follow each other, as CSC."""

    data: Array
    rows: Array
    indptr: Array
    first: int
    """Number of the first of them in the matrix."""

    @property
    def columns(self) -> Array:
        """The column of each stored entry."""
        return np.repeat(np.arange(self.first, self.first + len(self.indptr) - 1), np.diff(self.indptr))


class Columns:
    """The columns of a CSC matrix in a zarr folder.

    Parameters
    ----------
    place : pathlib.Path
        The AnnData folder whose ``X`` it is, such as ``atlas/concepts.zarr``.
    shape : tuple of int, optional
        What the matrix must have, where the names of its rows and columns were read.
    zeros : bool
        Whether zeros may be stored.

    Attributes
    ----------
    shape : tuple of int
        Rows (cells) and columns.
    starts : numpy.ndarray, int64
        Where each column begins, and the number of stored entries at the end.

    Raises
    ------
    DamagedError
        Here or when a column is read: if it is no such matrix, or a damaged one.
    """

    def __init__(self, place: Path, shape: tuple[int, int] | None = None, *, zeros: bool = False) -> None:
        self.place, self.zeros = place, zeros
        self.shape, self._data, self._indices, self.starts = reading(place, self._open)
        if shape is not None and self.shape != shape:
            raise DamagedError(f"{place}: X has shape {self.shape}, but its tables say {shape}; {AGAIN}")
        ends = {int(self._data.shape[0]), int(self._indices.shape[0]), *self.starts[-1:].tolist()}
        sizes = self.sizes
        fit = len(self.starts) == self.shape[1] + 1 and self.starts[0] == 0 and len(ends) == 1
        if not fit or (sizes < 0).any() or (sizes > self.shape[0]).any():
            raise self._damaged("its columns do not begin where they should")

    def _open(self) -> tuple[tuple[int, int], Any, Any, Array]:
        import zarr

        matrix: Any = zarr.open_group(str(self.place), mode="r")["X"]
        kind = matrix.attrs.get("encoding-type")
        if kind != "csc_matrix":
            raise DamagedError(f"{self.place}: X is stored as {kind}, not as csc_matrix; write the atlas again")
        n_rows, n_columns = (int(n) for n in matrix.attrs["shape"])
        starts: Array = np.asarray(matrix["indptr"][:], dtype=np.int64)
        return (n_rows, n_columns), matrix["data"], matrix["indices"], starts

    def __len__(self) -> int:
        return self.shape[1]

    @property
    def sizes(self) -> Array:
        """The number of stored entries of each column, int64."""
        return np.diff(self.starts)

    @property
    def n_stored(self) -> int:
        """The number of stored entries."""
        return int(self.starts[-1])

    def __getitem__(self, column: int) -> Column:
        """Return one column, read from disk."""
        return self.several([column])[0]

    def several(self, columns: Sequence[int]) -> list[Column]:
        """Return some columns; those that follow each other are read at once, up to `BLOCK` entries of them."""
        found: list[Column] = []
        while len(found) < len(columns):
            first = last = columns[len(found)]
            for column in columns[len(found) + 1 :]:
                if column != last + 1 or self.starts[column + 1] - self.starts[first] > BLOCK:
                    break
                last = column
            block = self._block(first, last + 1)
            for begin, end in zip(block.indptr[:-1], block.indptr[1:], strict=True):
                rows, values = block.rows[begin:end], block.data[begin:end]
                stored = values != 0
                found.append(Column(rows, values) if stored.all() else Column(rows[stored], values[stored]))
        return found

    def each(self, columns: Iterable[int]) -> Iterator[tuple[int, Column]]:
        """Yield some columns by number, ascending; about `BLOCK` stored entries of them are held at once."""
        wanted = np.array(sorted(columns), dtype=np.int64)
        part = np.cumsum(self.sizes[wanted]) // BLOCK
        for some in np.split(wanted, np.flatnonzero(np.diff(part)) + 1):
            yield from zip(some.tolist(), self.several(some.tolist()), strict=True)

    def blocks(self, entries: int | None = None) -> Iterator[Block]:
        """Yield all columns, at most `entries` (`BLOCK`) stored entries at a time or one column."""
        first = 0
        while first < len(self):
            room = self.starts[first] + (BLOCK if entries is None else entries)
            last = max(int(np.searchsorted(self.starts, room, side="right")) - 1, first + 1)
            yield self._block(first, last)
            first = last

    def _block(self, first: int, last: int) -> Block:
        """Read the columns from `first` to before `last`, with the rows of each ascending."""
        start, stop = int(self.starts[first]), int(self.starts[last])
        rows: Array = reading(self.place, lambda: np.require(self._indices[start:stop], np.int32, "W"))
        data: Array = reading(self.place, lambda: np.require(self._data[start:stop], np.float32, "W"))
        if len(rows) and (rows.min() < 0 or rows.max() >= self.shape[0]):
            raise self._damaged(f"an entry names cell {rows.max()} of {self.shape[0]}")
        if not np.isfinite(data).all():
            raise self._damaged("a value is not finite")
        block = Block(data, rows, self.starts[first : last + 1] - start, first)
        if not self.zeros and not data.all():
            raise self._damaged(f"column {block.columns[data == 0][0]} holds a zero")
        self._sort(block)
        return block

    def _sort(self, block: Block) -> None:
        """Bring the rows of each column into order, in place."""
        ascending = np.diff(block.rows) > 0
        begins = block.indptr[1:-1]
        ascending[begins[(begins > 0) & (begins < len(block.rows))] - 1] = True  # from one column to the next
        wrong = np.searchsorted(block.indptr, np.flatnonzero(~ascending), side="right") - 1
        for number in np.unique(wrong):
            part = slice(*block.indptr[number : number + 2])
            order = np.argsort(block.rows[part], kind="stable")
            block.rows[part], block.data[part] = block.rows[part][order], block.data[part][order]
            twice = np.flatnonzero(np.diff(block.rows[part]) == 0)
            if len(twice):
                cell = block.rows[part][twice[0]]
                raise self._damaged(f"column {block.first + number} names cell {cell} twice")

    def _damaged(self, what: str) -> DamagedError:
        return DamagedError(f"{self.place}: X is damaged ({what}); delete it and {AGAIN}")

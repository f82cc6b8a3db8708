"""Columns of numbers: as bytes for the page, and one at a time from a matrix that stays on disk.

A column file is little endian: uint32 n, then n uint32 positions of cells, ascending, then n float32 values. Of a CSC
matrix only where its columns begin is held in memory; what a column holds is read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellglass.atlas.read import reading
from cellglass.errors import DamagedError, InputError

Array = np.ndarray[Any, Any]

BLOCK = 1 << 22
"""Stored entries that are read at once where a whole matrix is passed over: 32 MiB."""


class Column(NamedTuple):
    """The cells in which a column is not zero, ascending, and its values there."""

    rows: Array
    values: Array


def to_bytes(column: Column) -> bytes:
    """Return a column as a column file."""
    count = np.array([len(column.rows)], dtype="<u4")
    return count.tobytes() + column.rows.astype("<u4").tobytes() + column.values.astype("<f4").tobytes()


def from_bytes(content: bytes) -> Column:
    """Return the column that a column file holds."""
    count = int(np.frombuffer(content, dtype="<u4", count=1)[0])
    if len(content) != 4 + 8 * count:
        raise InputError(f"a column of {count} entries has {4 + 8 * count} bytes, but these are {len(content)}")
    rows = np.frombuffer(content, dtype="<u4", count=count, offset=4)
    return Column(rows, np.frombuffer(content, dtype="<f4", count=count, offset=4 + 4 * count))


class Columns:
    """The columns of a CSC matrix in a zarr folder.

    Parameters
    ----------
    place : pathlib.Path
        The AnnData folder whose ``X`` it is.
    shape : tuple of int
        What the matrix must have, since the names of its rows and columns say so.
    zeros : bool
        Whether stored zeros are left out silently. Where there can be none, one is a sign of a chunk that is lost.

    Attributes
    ----------
    starts : numpy.ndarray, int64
        Where each column begins, and the number of stored entries at the end.
    """

    def __init__(self, place: Path, shape: tuple[int, int], *, zeros: bool = False):
        self.place, self.shape, self.zeros = place, shape, zeros
        self._data, self._indices, self.starts = reading(place, self._open)
        sizes = np.diff(self.starts)
        entries = {self._data.shape[0], self._indices.shape[0], int(self.starts[-1]) if len(self.starts) else 0}
        if len(self.starts) != shape[1] + 1 or self.starts[0] != 0 or (sizes < 0).any() or len(entries) != 1:
            raise self._damaged("its columns do not begin where they should")

    def _open(self) -> tuple[Any, Any, Array]:
        import zarr

        matrix = zarr.open_group(str(self.place), mode="r")["X"]
        kind, shape = matrix.attrs.get("encoding-type"), tuple(matrix.attrs.get("shape", ()))
        if kind != "csc_matrix":
            raise DamagedError(f"{self.place}: X is stored as {kind}, not as csc_matrix; write the atlas again")
        if shape != self.shape:
            raise DamagedError(f"{self.place}: X has shape {shape}, but its tables say {self.shape}; write it again")
        return matrix["data"], matrix["indices"], np.asarray(matrix["indptr"][:], dtype=np.int64)

    def __len__(self) -> int:
        return self.shape[1]

    @property
    def sizes(self) -> Array:
        """The number of stored entries of each column, int64."""
        return np.diff(self.starts)

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
            rows, values = self._read(int(self.starts[first]), int(self.starts[last + 1]))
            bounds = self.starts[first : last + 2] - self.starts[first]
            for column, begin, end in zip(range(first, last + 1), bounds[:-1], bounds[1:], strict=True):
                found.append(self._checked(column, rows[begin:end], values[begin:end]))
        return found

    def _checked(self, column: int, rows: Array, values: Array) -> Column:
        """Return a column with its cells ascending and without zeros, or say what is wrong with it."""
        if len(rows) > 1 and not (steps := np.diff(rows) > 0).all():
            order = np.argsort(rows, kind="stable")
            rows, values = rows[order], values[order]
            if not (steps := np.diff(rows) > 0).all():
                raise self._damaged(f"column {column} names cell {rows[1:][~steps][0]} twice")
        if not (values != 0).all():
            if not self.zeros:
                raise self._damaged(f"column {column} holds a zero")
            rows, values = rows[values != 0], values[values != 0]
        return Column(rows, values)

    def blocks(self, entries: int = BLOCK) -> Iterator[tuple[Array, Array, Array]]:
        """Yield column, row and value of all stored entries, at most `entries` at a time."""
        for first in range(0, int(self.starts[-1]), entries):
            last = min(first + entries, int(self.starts[-1]))
            rows, values = self._read(first, last)
            begin, end = np.searchsorted(self.starts, [first, last - 1], side="right") - 1
            bounds = np.clip(self.starts[begin : end + 2], first, last)
            yield np.repeat(np.arange(begin, end + 1), np.diff(bounds)), rows, values

    def _read(self, first: int, last: int) -> tuple[Array, Array]:
        if first == last:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.float32)
        rows: Array = reading(self.place, lambda: np.asarray(self._indices[first:last]))
        values: Array = reading(self.place, lambda: np.asarray(self._data[first:last]))
        if rows.min() < 0 or rows.max() >= self.shape[0]:
            raise self._damaged(f"an entry names cell {rows.max()} of {self.shape[0]}")
        if not np.isfinite(values).all():
            raise self._damaged("a value is not finite")
        return rows, values

    def _damaged(self, what: str) -> DamagedError:
        return DamagedError(
            f"{self.place}: X is damaged ({what}); delete it and run the same command again; it goes on"
        )

"""Reads a sparse matrix of an atlas (CSC, in zarr) block by block of columns, in bounded memory.

Knows nothing of what the columns mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellglass.errors import DamagedError

Array = np.ndarray[Any, Any]
BLOCK = 1 << 21
"""Numbers that a block holds at most, unless one column alone has more."""


class Block(NamedTuple):
    """Some columns of a matrix that follow each other, as CSC."""

    data: Array
    rows: Array
    indptr: Array


class Columns:
    """A matrix of the atlas on disk.

    Parameters
    ----------
    place
        The folder of the AnnData, such as ``atlas/concepts.zarr``.
    zeros
        Whether there may be stored zeros. Where there are none, one is a sign of a chunk that is lost.

    Attributes
    ----------
    shape : tuple of int
        Rows (cells) and columns.
    """

    def __init__(self, place: Path, *, zeros: bool = True) -> None:
        import zarr

        self.place, self.zeros = place, zeros
        try:
            self._group: Any = zarr.open_group(str(place), mode="r")["X"]
            if self._group.attrs["encoding-type"] != "csc_matrix":
                raise ValueError("X is not CSC")
            self.shape: tuple[int, int] = tuple(int(n) for n in self._group.attrs["shape"])  # type: ignore[assignment]
            self.indptr: Array = np.asarray(self._group["indptr"][:], dtype=np.int64)
            total = int(self._group["data"].shape[0])
            ends = {total, int(self._group["indices"].shape[0]), int(self.indptr[-1])} if len(self.indptr) else set()
            if len(self.indptr) != self.shape[1] + 1 or self.indptr[0] != 0 or len(ends) != 1:
                raise ValueError("its offsets do not fit")
            if (np.diff(self.indptr) < 0).any() or (np.diff(self.indptr) > self.shape[0]).any():
                raise ValueError("its offsets do not fit")
        except Exception as error:  # the libraries raise dozens of kinds for a damaged file
            raise damaged(place, error) from error

    @property
    def n_stored(self) -> int:
        """Numbers that the matrix holds."""
        return int(self.indptr[-1])

    def blocks(self) -> Iterator[Block]:
        """Yield all columns, block by block."""
        first = 0
        while first < self.shape[1]:
            last = int(np.searchsorted(self.indptr, self.indptr[first] + BLOCK, side="right")) - 1
            last = min(max(last, first + 1), self.shape[1])
            start, stop = int(self.indptr[first]), int(self.indptr[last])
            data, rows = self._read(start, stop)
            yield Block(data, rows, self.indptr[first : last + 1] - start)
            first = last

    def _read(self, start: int, stop: int) -> tuple[Array, Array]:
        try:
            data, rows = self._group["data"][start:stop], self._group["indices"][start:stop]
            if len(rows) and (rows.min() < 0 or rows.max() >= self.shape[0]):
                raise ValueError("it names cells that are not there")
            if not np.isfinite(data).all():
                raise ValueError("a value is not finite")
            if not self.zeros and not (data != 0).all():
                raise ValueError("it holds a zero")
        except Exception as error:  # as above
            raise damaged(self.place, error) from error
        return np.asarray(data, dtype=np.float32), np.asarray(rows, dtype=np.int32)


def latents_of(place: Path) -> Array:
    """Return the latent numbers of the concepts in ``concepts.zarr``, without reading their activations."""
    import zarr
    from anndata.io import read_elem

    try:
        return np.asarray(read_elem(zarr.open_group(str(place), mode="r")["var"])["latent"], dtype=np.int64)
    except Exception as error:  # the libraries raise dozens of kinds for a damaged file
        raise damaged(place, error) from error


def damaged(place: Path, error: Exception) -> DamagedError:
    """Return the error of one line that a library's error for a damaged file becomes."""
    reason = " ".join(str(error).split())[:120]
    return DamagedError(f"{place}: it cannot be read ({type(error).__name__}: {reason}); write the atlas again")

"""What everything that learns from activations reads: rows of one site, by position or as shuffled batches.

The same face for tensors in memory (`MemoryRows`) and for a site of a store on disk (`store.StoreRows`), so that
nothing downstream asks where the rows lie. It knows nothing of shards, models or dictionaries.

The order of shuffled batches, exactly: the rows are cut into consecutive blocks of 256; the blocks are permuted; as
many blocks as fit in the buffer are read, their rows permuted together and handed out; what is left of a buffer is
handed out first in the next. Where all rows fit in the buffer this is one uniform permutation. The order depends on
seed, epoch, rows and buffer size alone, so the same of these gives the same batches.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from cellglass.errors import InputError
from cellglass.seeds import derive, generator

Ints = np.ndarray[Any, np.dtype[np.int64]]

BLOCK = 256
BUFFER_ROWS = 65_536


class Rows(ABC):
    """Activations of one site, one row for each cell or token.

    Attributes
    ----------
    n_rows : int
        Number of rows.
    width : int
        Length of one row.
    has_spread : bool
        Whether each row has a posterior standard deviation beside its mean.
    """

    n_rows: int
    width: int
    has_spread: bool

    @abstractmethod
    def read(self, rows: Ints) -> torch.Tensor:
        """Return the rows at `rows`, in that order, float32 (len(rows), width)."""

    @abstractmethod
    def read_spread(self, rows: Ints) -> torch.Tensor:
        """Return the posterior standard deviations of the rows at `rows`, float32 (len(rows), width)."""

    def positions(self, rows: Ints | Sequence[int] | None) -> Ints:
        """Return `rows` as checked positions; None means all rows."""
        if rows is None:
            return np.arange(self.n_rows, dtype=np.int64)
        chosen = np.asarray(rows)
        if chosen.dtype == bool:
            if len(chosen) != self.n_rows:
                raise InputError(f"the mask of rows has {len(chosen)} entries, but there are {self.n_rows} rows")
            chosen = np.flatnonzero(chosen)
        chosen = chosen.astype(np.int64)
        if len(chosen) and (chosen.min() < 0 or chosen.max() >= self.n_rows):
            raise InputError(
                f"rows go from {chosen.min()} to {chosen.max()}, but there are rows 0 to {self.n_rows - 1}"
            )
        return chosen

    def batches(
        self,
        *,
        batch_size: int,
        rows: Ints | Sequence[int] | None = None,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = True,
        draw: bool = False,
        drop_last: bool = False,
        buffer_rows: int = BUFFER_ROWS,
    ) -> Iterator[torch.Tensor]:
        """Yield each of `rows` once, float32 (batch_size, width); the last batch may be smaller.

        Parameters
        ----------
        batch_size
            Rows in a batch.
        rows
            Positions to read; None means all.
        seed, epoch
            The order and the draws depend on these alone.
        shuffle
            False: in the order given.
        draw
            Give mean + sd * eps, eps standard normal, in place of the mean. InputError where there is no spread.
        drop_last
            Leave out the last batch where it is smaller than `batch_size`.
        buffer_rows
            At most about this many rows are held in memory.
        """
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be at least 1")
        if draw and not self.has_spread:
            raise InputError("these activations have no posterior spread to draw from; pass draw=False")
        noise = torch.Generator().manual_seed(derive(seed, "draw", epoch))
        left: Ints = np.empty(0, dtype=np.int64)
        for chunk in _chunks(self.positions(rows), shuffle, buffer_rows, generator(seed, "order", epoch)):
            ready = np.concatenate([left, chunk])
            whole = len(ready) - len(ready) % batch_size
            yield from self._pieces(ready[:whole], batch_size, noise if draw else None)
            left = ready[whole:]
        if len(left) and not drop_last:
            yield from self._pieces(left, batch_size, noise if draw else None)

    def _pieces(self, rows: Ints, batch_size: int, noise: torch.Generator | None) -> Iterator[torch.Tensor]:
        """Read `rows` at once and yield them in batches."""
        if not len(rows):
            return
        x = self.read(rows)
        if noise is not None:
            spread = self.read_spread(rows)
            x = x + spread * torch.randn(x.shape, generator=noise)
        yield from torch.split(x, batch_size)


class MemoryRows(Rows):
    """Rows that lie in memory.

    Parameters
    ----------
    values
        Activations, (n_rows, width).
    spread
        Posterior standard deviations of the same shape, or None.
    """

    def __init__(self, values: torch.Tensor, spread: torch.Tensor | None = None) -> None:
        if values.ndim != 2:
            raise InputError(f"activations have shape {tuple(values.shape)}; they must be rows x width")
        if spread is not None and spread.shape != values.shape:
            raise InputError(f"spread has shape {tuple(spread.shape)}, but activations have {tuple(values.shape)}")
        if not bool(torch.isfinite(values).all()):
            raise InputError("activations hold NaN or infinity; leave out those rows or repair the model")
        self.values = values.float()
        self.spread = None if spread is None else spread.float()
        self.n_rows, self.width = int(values.shape[0]), int(values.shape[1])
        self.has_spread = spread is not None

    def read(self, rows: Ints) -> torch.Tensor:
        """Return the rows at `rows`."""
        return self.values[torch.from_numpy(rows)]

    def read_spread(self, rows: Ints) -> torch.Tensor:
        """Return the posterior standard deviations of the rows at `rows`."""
        if self.spread is None:
            raise InputError("these activations have no posterior spread")
        return self.spread[torch.from_numpy(rows)]


def as_rows(x: Rows | torch.Tensor | np.ndarray[Any, Any]) -> Rows:
    """Return `x` as rows: a tensor or array is wrapped, rows are given back as they are."""
    if isinstance(x, Rows):
        return x
    return MemoryRows(torch.as_tensor(x))


def _chunks(rows: Ints, shuffle: bool, buffer_rows: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Yield `rows` in pieces of at most about `buffer_rows`, in the order that the module's docstring defines."""
    if not shuffle:
        for start in range(0, len(rows), buffer_rows):
            yield rows[start : start + buffer_rows]
        return
    if len(rows) <= buffer_rows:
        yield rng.permutation(rows)
        return
    blocks = rng.permutation(-(-len(rows) // BLOCK))
    at_once = max(1, buffer_rows // BLOCK)
    for start in range(0, len(blocks), at_once):
        pieces = [rows[block * BLOCK : (block + 1) * BLOCK] for block in blocks[start : start + at_once]]
        yield rng.permutation(np.concatenate(pieces))

"""What everything that learns from activations reads: rows of one site, by position or as shuffled batches.

The same face for tensors in memory (`MemoryRows`) and for a site of a store on disk (`store.StoreRows`), so that
nothing downstream asks where the rows lie. It knows nothing of shards, models or dictionaries.

The order of shuffled batches, exactly: the rows are cut into consecutive blocks of 256; the blocks are permuted; as
many blocks as fit in the buffer are read, their rows permuted together and handed out; what is left of a buffer is
handed out first in the next. Where all rows fit in the buffer this is one uniform permutation. The order depends on
seed, epoch, rows and buffer size alone, so the same of these gives the same batches; `skip` leaves out the first ones
without reading them, so that what was interrupted goes on, and `share` reads one process's part of each.
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
BUFFER_ROWS, BUFFER_FLOATS = 65_536, 1 << 23
"""Most rows, and most numbers (32 MiB), that are shuffled at once."""


class Rows(ABC):
    """Activations of one site, one row for each cell or token.

    Attributes
    ----------
    n_rows : int
        Number of rows.
    width : int
        Length of one row.
    has_sd : bool
        Whether each row has a posterior standard deviation beside its mean.
    """

    n_rows: int
    width: int
    has_sd: bool

    @abstractmethod
    def read(self, rows: Ints) -> torch.Tensor:
        """Return the rows at `rows`, in that order, float32 (len(rows), width)."""

    @abstractmethod
    def read_sd(self, rows: Ints) -> torch.Tensor:
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
        without: Ints | None = None,
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = True,
        draw: bool = False,
        drop_last: bool = False,
        buffer_rows: int | None = None,
        skip: int = 0,
        share: tuple[int, int] = (0, 1),
    ) -> Iterator[torch.Tensor]:
        """Yield each of `rows` once, float32 (batch_size, width); the last batch may be smaller.

        Parameters
        ----------
        batch_size
            Rows in a batch.
        rows
            Positions to read; None means all.
        without
            Positions to leave out, ascending.
        seed, epoch
            The order and the draws depend on these alone.
        shuffle
            False: in the order given.
        draw
            Give mean + sd * eps, eps standard normal, in place of the mean. InputError where there is no sd.
        drop_last
            Leave out the last batch where it is smaller than `batch_size`.
        buffer_rows
            At most about this many rows are shuffled at once. None: 65,536, fewer where rows are wider than 128. The
            next ones are read while the last batch of these is still in use, so twice as many are held in memory.
        skip
            Leave out the first `skip` batches.
        share
            Of each batch give the part of process `share[0]` among `share[1]`.
        """
        if batch_size < 1:
            raise InputError(f"batch_size is {batch_size}; it must be at least 1")
        if draw and not self.has_sd:
            raise InputError("these activations have no posterior standard deviation to draw from; pass draw=False")
        if buffer_rows is None:
            buffer_rows = max(BLOCK, min(BUFFER_ROWS, BUFFER_FLOATS // self.width))
        everything = range(self.n_rows) if rows is None else self.positions(rows)
        left: Ints = np.empty(0, dtype=np.int64)
        done = 0
        for chunk in _chunks(everything, shuffle, buffer_rows, generator(seed, "order", epoch)):
            if without is not None:
                chunk = chunk[~np.isin(chunk, without)]
            ready = np.concatenate([left, chunk])
            whole = len(ready) // batch_size
            left = ready[whole * batch_size :]
            noise = derive(seed, "draw", epoch, done, share[0]) if draw else None
            if whole and done + whole > skip:
                yield from self._pieces(ready[: whole * batch_size], batch_size, noise, max(0, skip - done), share)
            done += whole
        if len(left) and not drop_last and skip <= done:
            noise = derive(seed, "draw", epoch, done, share[0]) if draw else None
            yield from self._pieces(left, len(left), noise, 0, share)

    def _pieces(
        self, rows: Ints, batch_size: int, noise: int | None, skip: int, share: tuple[int, int]
    ) -> Iterator[torch.Tensor]:
        """Read the share of `rows` at once and yield it in batches, all but the first `skip`."""
        number, parts = share
        part = slice(batch_size * number // parts, batch_size * (number + 1) // parts)
        mine = rows.reshape(-1, batch_size)[:, part]
        wanted = mine[skip:].reshape(-1)
        x = self.read(wanted)
        if noise is not None:
            drawn = torch.randn(mine.size, self.width, generator=torch.Generator().manual_seed(noise))
            x = x + self.read_sd(wanted) * drawn[mine[:skip].size :]
        yield from torch.split(x, max(1, mine.shape[1]))


class MemoryRows(Rows):
    """Rows that lie in memory.

    Parameters
    ----------
    values
        Activations, (n_rows, width).
    sd
        Posterior standard deviations of the same shape, or None.
    """

    def __init__(self, values: torch.Tensor, sd: torch.Tensor | None = None) -> None:
        if values.ndim != 2:
            raise InputError(f"activations have shape {tuple(values.shape)}; they must be rows x width")
        if sd is not None and sd.shape != values.shape:
            raise InputError(f"sd has shape {tuple(sd.shape)}, but activations have {tuple(values.shape)}")
        if not bool(torch.isfinite(values).all()):
            raise InputError("activations hold NaN or infinity; leave out those rows or repair the model")
        self.values = values.float()
        self.sd = None if sd is None else sd.float()
        self.n_rows, self.width = int(values.shape[0]), int(values.shape[1])
        self.has_sd = sd is not None

    def read(self, rows: Ints) -> torch.Tensor:
        """Return the rows at `rows`."""
        return self.values[torch.from_numpy(rows)]

    def read_sd(self, rows: Ints) -> torch.Tensor:
        """Return the posterior standard deviations of the rows at `rows`."""
        if self.sd is None:
            raise InputError("these activations have no posterior standard deviation")
        return self.sd[torch.from_numpy(rows)]


class SideBySide(Rows):
    """Rows of several sites of the same cells, joined: what a transcoder learns from.

    Parameters
    ----------
    parts
        The rows of each site, equally many.
    """

    def __init__(self, parts: Sequence[Rows]) -> None:
        counts = [part.n_rows for part in parts]
        if len(set(counts)) != 1:
            raise InputError(f"the sites have {counts} rows; they must be of the same cells, row for row")
        self.parts = list(parts)
        self.n_rows, self.width = counts[0], sum(part.width for part in parts)
        self.has_sd = False

    def read(self, rows: Ints) -> torch.Tensor:
        """Return the rows at `rows` of all parts, side by side."""
        return torch.cat([part.read(rows) for part in self.parts], dim=1)

    def read_sd(self, rows: Ints) -> torch.Tensor:  # noqa: ARG002  # there is none of any row
        """Raise InputError: draws of several sites would not belong together."""
        raise InputError("sites side by side have no posterior standard deviation")


def as_rows(x: Rows | torch.Tensor | np.ndarray[Any, Any]) -> Rows:
    """Return `x` as rows: a tensor or array is wrapped, rows are given back as they are."""
    if isinstance(x, Rows):
        return x
    return MemoryRows(torch.as_tensor(x))


def _chunks(rows: Ints | range, shuffle: bool, buffer_rows: int, rng: np.random.Generator) -> Iterator[Ints]:
    """Yield `rows` in pieces of at most about `buffer_rows`, in the order that the module's docstring defines."""
    if not shuffle:
        for start in range(0, len(rows), buffer_rows):
            yield np.asarray(rows[start : start + buffer_rows], dtype=np.int64)
        return
    if len(rows) <= buffer_rows:
        yield rng.permutation(rows)
        return
    blocks = rng.permutation(-(-len(rows) // BLOCK))
    at_once = max(1, buffer_rows // BLOCK)
    for start in range(0, len(blocks), at_once):
        pieces = [
            np.asarray(rows[block * BLOCK : (block + 1) * BLOCK], dtype=np.int64)
            for block in blocks[start : start + at_once]
        ]
        yield rng.permutation(np.concatenate(pieces))

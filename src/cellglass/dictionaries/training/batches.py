"""Where training gets its batches from: a site on disk or in memory, or any stream of batches that is kept nowhere.

A source gives shuffled batches without end, from any place on, so that an interrupted training resumes.
It also gives what is needed before the first step: rows to hold out, statistics, and a sample.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from cellglass.activations.rows import Ints, Rows
from cellglass.errors import InputError
from cellglass.moments import Moments
from cellglass.seeds import generator

READ = 4096
"""Rows that are read at once, and most that are looked at to judge a training."""
_MOST_HELD = 65_536
_STREAM_SAMPLE = 16_384

Stream = Iterable[torch.Tensor] | Callable[[int], Iterable[torch.Tensor]]
"""Batches (rows, width) of any size, or a function that returns them for the number of the pass."""


class BatchSource(ABC):
    """Rows for training.

    Attributes
    ----------
    width : int
        Length of a row.
    epoch, number : int
        The next batch: how many passes lie behind it, and how many batches of this pass.
    """

    width: int
    epoch = 0
    number = 0

    def seek(self, epoch: int, number: int) -> None:
        """Go to a place."""
        self.epoch, self.number = epoch, number

    @abstractmethod
    def batches(self) -> Iterator[torch.Tensor]:
        """Yield batches from the present place on, pass after pass; `epoch` and `number` follow."""

    @abstractmethod
    def held(self) -> torch.Tensor:
        """Return rows that are not trained on, at most `READ`."""

    @abstractmethod
    def sample(self) -> torch.Tensor:
        """Return rows that are trained on, at most 16,384."""

    @abstractmethod
    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and variance of each dimension, float32 (width,)."""


class RowBatches(BatchSource):
    """Rows of a site.

    Parameters
    ----------
    rows
        The site.
    learn
        Positions to learn from; None means all but `held_out`.
    held_out
        Positions to hold out.
    batch_size, seed, draw, share
        As for `cellglass.activations.rows.Rows.batches`.
    """

    def __init__(
        self,
        rows: Rows,
        learn: Ints | None,
        held_out: Ints,
        *,
        batch_size: int,
        seed: int,
        draw: bool = False,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.rows, self.learn, self.held_out, self.width = rows, learn, np.sort(held_out), rows.width
        self.n_learn = rows.n_rows - len(held_out) if learn is None else len(learn)
        self.batch_size = min(batch_size, max(1, self.n_learn // 4))
        if self.batch_size < share[1]:
            raise InputError(f"batches of {self.batch_size} rows cannot be shared by {share[1]} processes; start fewer")
        self.seed, self.draw, self.share = seed, draw and rows.has_sd, share

    def batches(self) -> Iterator[torch.Tensor]:
        """Yield batches of `batch_size` rows, shuffled anew in each pass."""
        while True:
            yield from self._pass()
            self.epoch, self.number = self.epoch + 1, 0

    def _pass(self) -> Iterator[torch.Tensor]:
        for batch in self.rows.batches(
            batch_size=self.batch_size,
            rows=self.learn,
            without=self.held_out if self.learn is None else None,
            seed=self.seed,
            epoch=self.epoch,
            draw=self.draw,
            drop_last=True,
            skip=self.number,
            share=self.share,
        ):
            self.number += 1
            yield batch

    def held(self) -> torch.Tensor:
        """Return held-out rows, drawn with the seed where there are many."""
        some = generator(self.seed, "held-out sample").permutation(self.held_out)[:READ]
        return self.rows.read(np.sort(some))

    def sample(self) -> torch.Tensor:
        """Return rows drawn with the seed."""
        rng = generator(self.seed, "sample")
        if self.learn is not None:
            return self.rows.read(np.sort(rng.permutation(self.learn)[:_STREAM_SAMPLE]))
        drawn = np.unique(rng.integers(0, self.rows.n_rows, min(_STREAM_SAMPLE, 4 * self.rows.n_rows)))
        return self.rows.read(drawn[~np.isin(drawn, self.held_out)])

    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and variance of all rows to learn from."""
        without = self.held_out if self.learn is None else None
        return mean_and_variance(self.rows, self.learn, without)


class StreamBatches(BatchSource):
    """Batches from anywhere, such as a model that runs beside the training.

    The first rows are held out, the next ones give statistics and sample (and are trained on). Rows come in the order
    of the stream, which has to be a shuffled one. A later pass begins anew, held-out rows included if they come again.

    Parameters
    ----------
    stream
        An iterable of tensors (rows, width), or a function that returns one for the number of the pass.
    batch_size
        Rows in a step; the stream's own batches may have any size.
    share
        Of each batch give the part of process `share[0]` among `share[1]`.
    """

    def __init__(self, stream: Stream, *, batch_size: int, share: tuple[int, int] = (0, 1)) -> None:
        self.stream, self.batch_size, self.share = stream, batch_size, share
        self._once = not callable(stream) and iter(stream) is stream
        self._open: Iterator[torch.Tensor] | None = None
        self._first = self._head()
        self.width = int(self._first.shape[1])
        self.n_held = max(1, min(READ, len(self._first) // 5))

    def _head(self) -> torch.Tensor:
        """Read the rows that are needed before the first step; what was read goes on being used."""
        self._open = self._pieces(0)
        kept, count = [], 0
        for piece in self._open:
            kept.append(piece)
            count += len(piece)
            if count >= READ + _STREAM_SAMPLE:
                break
        if count < 10:
            raise InputError(f"the stream gave {count} rows, too few to train on")
        return torch.cat(kept)

    def _pieces(self, epoch: int) -> Iterator[torch.Tensor]:
        width = None
        for given in self.stream(epoch) if callable(self.stream) else self.stream:
            piece = torch.as_tensor(given)
            if piece.ndim != 2:
                raise InputError(f"the stream gave a tensor of shape {tuple(piece.shape)}; it must be rows x width")
            if width not in (None, piece.shape[1]):
                raise InputError(f"the stream gave rows of width {piece.shape[1]} after rows of width {width}")
            width = piece.shape[1]
            yield piece.detach().float()

    def batches(self) -> Iterator[torch.Tensor]:
        """Yield batches of `batch_size` rows."""
        while True:
            given = 0
            for batch in self._regrouped(self._pass()):
                given += 1
                if given > self.number:
                    self.number += 1
                    yield batch
            if not given:
                raise InputError(f"a pass of the stream has less than one batch of {self.batch_size} rows")
            if self._once:
                raise InputError(
                    f"the stream ended after {self.number} batches of {self.batch_size} rows; lower steps, "
                    "or give a function that starts it anew"
                )
            self.epoch, self.number = self.epoch + 1, 0

    def _pass(self) -> Iterator[torch.Tensor]:
        if self.epoch:
            yield from self._pieces(self.epoch)
            return
        opened, self._open = self._open, None
        if opened is None:
            if self._once:
                raise InputError("this stream can be read once; give a function that starts it anew")
            opened, seen = self._pieces(0), 0
            while seen < len(self._first):
                seen += len(next(opened))
        yield self._first[self.n_held :]
        yield from opened

    def _regrouped(self, pieces: Iterator[torch.Tensor]) -> Iterator[torch.Tensor]:
        number, parts = self.share
        part = slice(self.batch_size * number // parts, self.batch_size * (number + 1) // parts)
        left = torch.empty(0, self.width)
        for piece in pieces:
            ready = torch.cat([left, piece]) if len(left) else piece
            whole = len(ready) - len(ready) % self.batch_size
            for batch in torch.split(ready[:whole], self.batch_size) if whole else ():
                yield batch[part]
            left = ready[whole:]

    def held(self) -> torch.Tensor:
        """Return the first rows of the stream."""
        return self._first[: self.n_held].cpu()

    def sample(self) -> torch.Tensor:
        """Return the rows after them."""
        return self._first[self.n_held :].cpu()

    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return mean and variance of the sample."""
        sample = self.sample().double()
        return sample.mean(0).float(), sample.var(0, correction=0).float()


def split_rows(
    rows: Rows, learn: Ints | Sequence[int] | None, held: Ints | Sequence[int] | None, seed: int
) -> tuple[Ints | None, Ints]:
    """Return rows to learn from (None: all but those held out) and rows to hold out.

    None for both: a tenth, drawn with `seed`, is held out, at most 65,536. None for one: all the others.
    """
    if learn is None and held is None:
        held_rows = _drawn(rows.n_rows, seed)
        learn_rows: Ints | None = None
    elif held is not None:
        held_rows = np.sort(rows.positions(held))
        learn_rows = None if learn is None else rows.positions(learn)
    else:
        learn_rows = rows.positions(learn)
        held_rows = np.setdiff1d(np.arange(rows.n_rows), learn_rows)
    count = rows.n_rows - len(held_rows) if learn_rows is None else len(learn_rows)
    if count < 2 or len(held_rows) < 1:
        raise InputError(f"{count} rows to learn from and {len(held_rows)} held out are too few; capture more cells")
    return learn_rows, held_rows


def _drawn(n: int, seed: int) -> Ints:
    count = min(_MOST_HELD, max(1, n // 10))
    rng = generator(seed, "held-out rows")
    chosen: Ints = np.sort(rng.choice(n, count, replace=False, shuffle=False)) if n else np.empty(0, np.int64)
    return chosen


def mean_and_variance(
    rows: Rows, chosen: Ints | None, without: Ints | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return mean and variance of each dimension over the `chosen` rows (None: all), float32, in one pass."""
    moments = Moments(rows.width)
    for batch in rows.batches(batch_size=READ, rows=chosen, without=without, shuffle=False):
        moments.add(batch)
    return moments.mean.float(), (moments.squares / moments.n).float()


def is_stream(x: Any) -> bool:
    """Return whether `x` is a stream and not rows."""
    return not isinstance(x, Rows | torch.Tensor | np.ndarray)

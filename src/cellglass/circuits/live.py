"""Inputs and outputs of every MLP at single tokens, computed when they are read: what ``tokens.py`` keeps on disk.

    rows = LiveTokens(objective, cells, rows=positions)
    rows.read(some)        the model runs on the cells of these tokens

The tokens are those that `capture_tokens` would keep, in the same order, so that a training sees the same rows. What is
known of them beforehand is how many each cell has. Memory holds one read at a time, which a training asks for in
buffers of bounded size. A read depends on the positions that are asked for alone, and a batch is read with the same
others whether a training was interrupted before it or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch

from cellglass.activations.rows import Rows
from cellglass.cells.cells import Cells
from cellglass.circuits.mlps import mlp_sites
from cellglass.circuits.objectives import Objective, Shown
from cellglass.circuits.tokens import CELLS_AT_ONCE, SHOWN_HIDDEN, kept_tokens, pieces, read_tokens
from cellglass.errors import InputError
from cellglass.models.transformer.tokens import Ints
from cellglass.progress import Progress, silent

Flags = np.ndarray[tuple[int], np.dtype[np.bool_]]


class _Block(NamedTuple):
    shown: Shown
    keep: Flags


class LiveTokens(Rows):
    """Rows of all MLPs side by side: input and output of the first, of the second, and so on.

    Parameters
    ----------
    objective
        The model, and how it is shown cells.
    cells
        Cells with raw counts, which may lie on disk; the model aligns them.
    rows
        Positions of the cells to read.
    seed
        Of which tokens are kept.
    progress
        Told how many cells are counted.

    Attributes
    ----------
    start : numpy.ndarray of int64, (cells + 1,)
        Where the rows of each cell begin.
    """

    has_sd = False

    def __init__(
        self, objective: Objective, cells: Cells, *, rows: Ints, seed: int = 0, progress: Progress = silent
    ) -> None:
        if not len(rows):
            raise InputError(f"{cells.source}: there are no cells to read MLPs at")
        self.objective, self._cells, self._rows, self._seed = objective, cells, rows, seed
        self.sites = mlp_sites(objective.model)
        self.width = sum(objective.model.site(name).width for name in self.sites)
        counts: list[Ints] = []
        for first in range(0, len(rows), CELLS_AT_ONCE):
            block = self._block(np.arange(first, min(first + CELLS_AT_ONCE, len(rows))))
            ahead = np.concatenate([[0], np.cumsum(block.keep)])
            counts.append(np.diff(ahead[block.shown.tokens.start]))
            progress("count the tokens", first + len(counts[-1]), len(rows))
        self.start = np.concatenate([[0], np.cumsum(np.concatenate(counts))]).astype(np.int64)
        self.n_rows = int(self.start[-1])

    def cells(self) -> Ints:
        """Return the cell of every row, as `Store.rows(site).cells()` does."""
        return np.repeat(np.arange(len(self._rows)), np.diff(self.start))

    def columns(self, layers: Sequence[int]) -> Ints:
        """Return the columns of the inputs of some layers, and behind them those of their outputs."""
        widths = [self.objective.model.site(name).width for name in self.sites]
        edges = np.concatenate([[0], np.cumsum(widths)])
        sites = [2 * layer for layer in layers] + [2 * layer + 1 for layer in layers]
        return np.concatenate([np.arange(edges[site], edges[site + 1]) for site in sites])

    def read(self, rows: Ints) -> torch.Tensor:
        """Return the rows at `rows`, in that order; the model runs on their cells."""
        found = torch.empty(len(rows), self.width)
        wanted = np.unique(rows)
        needed = np.unique(np.searchsorted(self.start, wanted, side="right") - 1)
        for first in range(0, len(needed), CELLS_AT_ONCE):
            some = needed[first : first + CELLS_AT_ONCE]
            block = self._block(some)
            number = np.concatenate([np.arange(self.start[i], self.start[i + 1]) for i in some])  # of each kept token
            asked, keep = np.isin(number, wanted), block.keep.copy()
            keep[keep] = asked
            number = number[asked]
            place = np.searchsorted(number, rows).clip(max=len(number) - 1)
            here = np.flatnonzero(number[place] == rows)
            values = torch.cat(list(self._values(_Block(block.shown, keep))))
            found[torch.from_numpy(here)] = values[torch.from_numpy(place[here])]
        return found

    def read_sd(self, rows: Ints) -> torch.Tensor:  # noqa: ARG002  # there is none of any row
        """Raise InputError: MLPs have no posterior."""
        raise InputError("what MLPs read and write has no posterior standard deviation")

    def _pieces(
        self, rows: Ints, batch_size: int, noise: int | None, skip: int, share: tuple[int, int]
    ) -> Iterator[torch.Tensor]:
        """Read all of `rows` whatever is skipped: what runs together is rounded together."""
        yield from list(super()._pieces(rows, batch_size, noise, 0, share))[skip:]

    def _block(self, some: Ints) -> _Block:
        block = self.objective.model.align(self._cells[self._rows[some]])
        shown = self.objective.shown(block, SHOWN_HIDDEN)
        return _Block(shown, kept_tokens(shown, block, self._seed))

    def _values(self, block: _Block) -> Iterator[torch.Tensor]:
        for some in pieces(block.shown, block.keep, self.width):
            read = read_tokens(self.objective.model, block.shown, block.keep, some, 0, self.sites)
            values = torch.cat([read[name].values for name in self.sites], dim=1)
            if not bool(torch.isfinite(values).all()):
                raise InputError("what MLPs read or write holds NaN or infinity; repair the model, or leave out cells")
            yield values

"""Cells as token sequences: what a transformer reads of each, padded in batches of like length.

A cell's tokens are a function of that cell alone. Knows neither networks nor vocabularies.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch

Ints = np.ndarray[Any, np.dtype[np.int64]]
Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass(frozen=True)
class TokenLists:
    """The tokens of several cells, cell after cell.

    Attributes
    ----------
    start : numpy.ndarray of int64, (n_cells + 1,)
        Where the tokens of each cell begin; the last is their number.
    ids : numpy.ndarray of int64, (tokens,)
        What the network is given.
    gene : numpy.ndarray of int64, (tokens,)
        The gene of each token as its position among the model's genes; -1 where a token is no gene.
    value : numpy.ndarray of float32, (tokens,), or None
        The value beside each token, for models that read one.
    """

    start: Ints
    ids: Ints
    gene: Ints
    value: Floats | None = None

    def __len__(self) -> int:
        return len(self.start) - 1

    @property
    def lengths(self) -> Ints:
        """Number of tokens of each cell."""
        return np.diff(self.start)

    def different(self) -> tuple[TokenLists, Ints]:
        """Return each different list of tokens once, and for each cell which of them is its own."""
        number: dict[bytes, int] = {}
        first: list[int] = []
        which = np.empty(len(self), dtype=np.int64)
        columns = [column for column in (self.ids, self.gene, self.value) if column is not None]
        for i, (start, stop) in enumerate(itertools.pairwise(self.start.tolist())):
            key = b"".join(column[start:stop].tobytes() for column in columns)
            which[i] = number.setdefault(key, len(number))
            if which[i] == len(first):
                first.append(i)
        return self.take(np.array(first, dtype=np.int64)), which

    def take(self, cells: Ints) -> TokenLists:
        """Return the tokens of some cells, in the order given."""
        lengths = self.lengths[cells]
        start = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        place = np.arange(start[-1]) - np.repeat(start[:-1] - self.start[cells], lengths)
        return TokenLists(start, self.ids[place], self.gene[place], None if self.value is None else self.value[place])

    def padded(self, cells: Ints, pad_id: int, pad_value: float = 0.0) -> Padded:
        """Return the tokens of `cells` side by side, filled up behind to the longest."""
        lengths = self.lengths[cells]
        width = int(lengths.max(initial=0))
        column = np.arange(width)
        mask = column < lengths[:, None]
        place = np.where(mask, self.start[cells][:, None] + column, 0)
        ids = np.where(mask, self.ids[place] if len(self.ids) else 0, pad_id)
        gene = np.where(mask, self.gene[place] if len(self.gene) else 0, -1)
        value = None
        if self.value is not None:
            filled = np.where(mask, self.value[place] if len(self.value) else 0, np.float32(pad_value))
            value = torch.from_numpy(filled.astype(np.float32, copy=False))
        return Padded(torch.from_numpy(ids), value, torch.from_numpy(mask), torch.from_numpy(gene), cells)


class Padded(NamedTuple):
    """A batch of n cells, t tokens wide.

    Attributes
    ----------
    ids : torch.Tensor, int64, (n, t)
    value : torch.Tensor, float32, (n, t), or None
    mask : torch.Tensor, bool, (n, t)
        True at a token, False at padding.
    gene : torch.Tensor, int64, (n, t)
        -1 at padding and where a token is no gene.
    cells : numpy.ndarray of int64, (n,)
        Which cells these are, as positions in the `TokenLists`.
    there : torch.Tensor, (n, t), optional
        How far each token counts in means over tokens, 0 to 1; by default fully.
    """

    ids: torch.Tensor
    value: torch.Tensor | None
    mask: torch.Tensor
    gene: torch.Tensor
    cells: Ints
    there: torch.Tensor | None = None

    def to(self, device: torch.device) -> Padded:
        """Return the batch on `device`."""
        value, there = (None if part is None else part.to(device) for part in (self.value, self.there))
        return Padded(self.ids.to(device), value, self.mask.to(device), self.gene.to(device), self.cells, there)


def batches_by_length(lengths: Ints, most_tokens: int) -> list[Ints]:
    """Return which cells run together: of like length, so that little is padded, and at most `most_tokens` in all.

    A cell that is longer by itself runs alone. The longest come first, so that a machine that is too small says so at
    once.
    """
    order = np.argsort(-lengths, kind="stable")
    batches, first = [], 0
    while first < len(order):
        longest = max(1, int(lengths[order[first]]))
        count = max(1, most_tokens // longest)
        batches.append(order[first : first + count])
        first += count
    return batches

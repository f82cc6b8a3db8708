"""The cells that a report draws, all or a random sample, and the files of the tree that have a value for each.

A cell keeps its number in the atlas wherever a file names it. Files with a value for each cell go by its place among
the drawn ones, and `Drawn.cells` says which cell has which place.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from cellglass.atlas.columns import Column, Columns
from cellglass.explorer.data.columns import to_bytes
from cellglass.explorer.data.neurons import Neurons
from cellglass.explorer.data.source import Source
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

MAX_ENTRIES = 1_000_000
"""Activations of the drawn cells at most, about 8 bytes of the report each: where cells have many, fewer are drawn."""


class Drawn:
    """The cells that are drawn.

    Parameters
    ----------
    source : Source
    max_cells : int
        How many at most; of more a random sample is drawn, which depends on the atlas's seed alone.

    Attributes
    ----------
    cells : numpy.ndarray, int64
        The numbers of the drawn cells, ascending.
    """

    def __init__(self, source: Source, max_cells: int):
        n = source.n_cells
        each = max(1.0, int(source.activations.starts[-1]) / max(n, 1))
        keep = min(n, max_cells, max(1, int(MAX_ENTRIES / each)))
        self.source, self.cells = source, np.arange(n)
        if keep < n:
            self.cells = np.sort(generator(source.seed, "report", "cells").choice(n, size=keep, replace=False))
        self._place = np.full(n, -1, dtype=np.int32)
        self._place[self.cells] = np.arange(keep)

    @property
    def all(self) -> bool:
        """Whether every cell is drawn."""
        return len(self.cells) == self.source.n_cells

    def column(self, column: Column) -> Column:
        """Return a column over all cells as one over the drawn ones."""
        places = self._place[column.rows]
        inside = places >= 0
        return Column(places[inside], column.values[inside])

    def columns(self, columns: Iterable[tuple[int, Column]]) -> Iterator[tuple[int, bytes]]:
        """Yield columns over all cells, by number, as column files over the drawn ones."""
        for number, column in columns:
            yield number, to_bytes(self.column(column))

    def first(self, matrix: Columns, numbers: Sequence[int], entries: int) -> list[int]:
        """Return as many of the first `numbers` as have about `entries` entries, or fewer, in the drawn cells."""
        share = len(self.cells) / max(self.source.n_cells, 1)
        held = np.cumsum(matrix.sizes[np.array(numbers, dtype=np.int64)]) * share <= entries
        return list(numbers[: int(held.sum())])

    def neurons(self, neurons: Neurons, numbers: Sequence[int]) -> Iterator[tuple[int, bytes]]:
        """Yield the answers of some neurons as column files, found in one pass over the activations."""
        found = np.zeros((len(self.cells), len(numbers)), dtype=np.float32)
        if len(numbers):
            for cells, answers in neurons.responses.blocks(np.array(numbers), among=self.cells):
                found[self._place[cells]] = np.maximum(answers, 0)
        for number, answers in zip(numbers, found.T, strict=True):
            places = np.flatnonzero(answers)
            yield number, to_bytes(Column(places, answers[places]))

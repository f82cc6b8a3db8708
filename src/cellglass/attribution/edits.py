"""Single changes of counts that methods ask for, and their effects, concept by concept. Runs no model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

Array = np.ndarray[Any, Any]
DENSE = 1 << 22
"""Numbers that a dense block of counts may hold."""


class Edits(NamedTuple):
    """Single changes that somebody asks for, flat; all arrays have one entry an edit.

    Attributes
    ----------
    row : int64
        Row of the pair (or of the prototype) that asks; never decreasing.
    cell : int64
        Position of the changed cell.
    concept : int64
        The latent that is read.
    gene : int64
        Position of the changed gene.
    counts : float32
        Its new count.
    """

    row: Array
    cell: Array
    concept: Array
    gene: Array
    counts: Array

    @classmethod
    def of(cls, row: Array, gene: Array, counts: Array, cell: Array, concept: Array) -> Edits:
        """Return the edits of rows: ``cell[row]`` is changed, and read at ``concept[row]``."""
        return cls(row, np.asarray(cell, dtype=np.int64)[row], np.asarray(concept, dtype=np.int64)[row], gene, counts)

    @classmethod
    def joined(cls, parts: list[Edits]) -> Edits:
        """Return the edits of all parts, one after the other."""
        return cls(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))

    def among(self, chosen: dict[int, Array]) -> Edits:
        """Return the edits that change a gene which is chosen for their concept."""
        kept = np.zeros(len(self.row), dtype=bool)
        for concept, genes in chosen.items():
            mine = self.concept == concept
            kept[mine] = np.isin(self.gene[mine], genes)
        return Edits(*(column[kept] for column in self))


class OfConcept(NamedTuple):
    """The effects of the edits of one concept.

    Attributes
    ----------
    concept : int
    pairs : pandas.DataFrame, m rows
        The rows that asked.
    effects : float32, shape (m, n_genes)
        0 where nothing was changed.
    row, gene : int64
        Where something was: positions in `effects`.
    """

    concept: int
    pairs: pd.DataFrame
    effects: Array
    row: Array
    gene: Array


class Changed(NamedTuple):
    """What the edits of one method gave.

    Attributes
    ----------
    pairs : pandas.DataFrame
        The rows that asked, sorted by concept.
    edits : Edits
    effects : dict of str to float32 array, shape (len(edits.row),)
        For each readout the share of it that each edit takes from its cell.
    """

    pairs: pd.DataFrame
    edits: Edits
    effects: dict[str, Array]

    def each(self, on: str, n_genes: int) -> Iterator[OfConcept]:
        """Yield the effects on the readout `on`, one concept (a few hundred dense rows) at a time."""
        concept = self.pairs["concept"].to_numpy()
        for number in np.unique(concept):
            first, stop = np.searchsorted(concept, [number, number + 1])  # rows of the concept
            begin, end = np.searchsorted(self.edits.row, [first, stop])  # their edits
            row, gene = self.edits.row[begin:end] - first, self.edits.gene[begin:end]
            effects = np.zeros((stop - first, n_genes), dtype=np.float32)  # (m, n_genes)
            effects[row, gene] = self.effects[on][begin:end]
            yield OfConcept(int(number), self.pairs.iloc[first:stop], effects, row, gene)

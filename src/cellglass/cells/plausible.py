"""Counts that are counts and still mean nothing: said in a line, never refused here.

Judges two numbers of each cell, its sum and its smallest count; reads no files.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

Numbers = np.ndarray[Any, np.dtype[np.float64]]


class CellSums(NamedTuple):
    """What is known of each cell.

    Attributes
    ----------
    total : numpy.ndarray of float64, shape (n_cells,)
        Sum of its counts.
    smallest : numpy.ndarray of float64, shape (n_cells,)
        Its smallest count above 0; 1 where fewer than `GENES` genes have any.
    """

    total: Numbers
    smallest: Numbers

    @classmethod
    def of(cls, counts: sp.csr_matrix) -> CellSums:
        """Return it for counts without stored zeros."""
        total = np.asarray(counts.sum(axis=1, dtype=np.float64)).ravel()
        smallest, seen = np.ones(len(total)), np.diff(counts.indptr)
        if counts.nnz:
            lowest = np.minimum.reduceat(counts.data, counts.indptr[:-1][seen > 0])
            smallest[seen > 0] = np.where(seen[seen > 0] >= GENES, lowest, 1)
        return cls(total, smallest)

    @classmethod
    def joined(cls, parts: Sequence[CellSums]) -> CellSums:
        """Return those of consecutive blocks as one."""
        return cls(np.concatenate([part.total for part in parts]), np.concatenate([part.smallest for part in parts]))


GENES = 50
"""Genes with counts from which on a cell nearly always has one that was counted once."""

EMPTY_SHARE = 1 / 3
"""From this share of cells on that look like empty droplets, the file was probably not filtered."""

FULL = 300
"""The 300th largest sum (of few cells one among the first 2 %, at least the 10th) is what a cell holds."""

FEWEST = 10
"""Of fewer cells than this with counts nothing is said."""

EMPTY = (1 / 50, 100.0)
"""An empty droplet holds less than a fiftieth of that, and fewer than 100 molecules."""

EQUAL = 0.01
"""Sums that differ by less than this share are one sum, rounded; sums of real counts differ by tens of per cent."""


def doubts(sums: CellSums) -> Iterator[str]:
    """Yield what speaks against these cells, each the rest of a sentence that begins with the name of the file."""
    held = sums.total[sums.total > 0]
    silent = len(sums.total) - len(held)
    if silent:
        yield f"{silent} cells have no counts at all"
    yield from _empty(sums.total)
    if len(held) < FEWEST:
        return
    middle = float(np.median(held))
    if middle > 1000 and np.mean(np.abs(held / middle - 1) < EQUAL) > 0.95:
        yield (
            f"every cell sums to about {middle:.6g}, as TPM or normalised values do that were rounded to whole "
            "numbers; those are no raw counts: give the counts before normalisation"
        )
    elif np.mean(sums.smallest[sums.total > 0] > 1) > 0.95:
        yield (
            "hardly any cell has a gene that was counted once, as values have that were scaled and rounded to whole "
            "numbers; those are no raw counts: give the counts before that"
        )


def _empty(totals: Numbers) -> Iterator[str]:
    n = len(totals)
    if n < 4 * FEWEST:
        return
    rank = max(FEWEST, min(FULL, n // 50))
    full = float(np.partition(totals, n - rank)[n - rank])
    least = min(EMPTY[0] * full, EMPTY[1])
    empty = int((totals < least).sum())
    if empty > EMPTY_SHARE * n:
        yield (
            f"{empty:,} of {n:,} cells look like empty droplets (fewer than {least:.3g} counts, where cells hold "
            f"{full:,.0f}); give the filtered matrix, or filter them, or concepts will be of empty droplets"
        )

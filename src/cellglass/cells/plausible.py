"""Counts that are counts and still mean nothing: said in a line, never refused here. Judges sums, reads no files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

Totals = np.ndarray[Any, np.dtype[np.float64]]

EMPTY_SHARE = 1 / 3
"""From this share of cells on that look like empty droplets, the file was probably not filtered."""

FULL = 300
"""The 300th largest sum (of few cells one among the first 2 %, at least the 10th) is what a cell holds."""

EMPTY = (1 / 50, 100.0)
"""An empty droplet holds less than a fiftieth of that, and fewer than 100 molecules."""

EQUAL = 0.01
"""Sums that differ by less than this share are one sum, rounded; sums of real counts differ by tens of per cent."""


def doubts(totals: Totals) -> Iterator[str]:
    """Yield what speaks against these cells, each the rest of a sentence that begins with the name of the file.

    Parameters
    ----------
    totals : numpy.ndarray of float64, shape (n_cells,)
        Sum of the counts of each cell.
    """
    silent = int((totals == 0).sum())
    if silent:
        yield f"{silent} cells have no counts at all"
    n = len(totals)
    if n < 2 * FULL // 10:
        return
    rank = max(10, min(FULL, n // 50))
    full = float(np.partition(totals, n - rank)[n - rank])
    least = min(EMPTY[0] * full, EMPTY[1])
    empty = int((totals < least).sum())
    if empty > EMPTY_SHARE * n:
        yield (
            f"{empty:,} of {n:,} cells look like empty droplets (fewer than {least:.3g} counts, where cells hold "
            f"{full:,.0f}); give the filtered matrix, or filter them, or concepts will be of empty droplets"
        )
    held = totals[totals > 0]
    middle = float(np.median(held)) if len(held) else 0.0
    if middle > 1000 and np.mean(np.abs(held / middle - 1) < EQUAL) > 0.95:
        yield (
            f"every cell sums to about {middle:.6g}, as TPM or normalised values do that were rounded to whole "
            "numbers; those are no raw counts: give the counts before normalisation"
        )

"""The loop of the marks that numba compiles: one pass over a block's stored numbers."""

from __future__ import annotations

from typing import Any


def group_sums(values: Any, rows: Any, indptr: Any, group: Any, sums: Any, squares: Any, counts: Any) -> None:
    """Add up the stored numbers of each column by the group of their cells."""
    for column in range(len(indptr) - 1):
        for at in range(indptr[column], indptr[column + 1]):
            of = group[rows[at]]
            value = float(values[at])
            sums[column, of] += value
            squares[column, of] += value * value
            counts[column, of] += 1

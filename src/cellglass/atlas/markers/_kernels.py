"""The loops of the marks that numba compiles: one pass over a block's stored numbers."""

from __future__ import annotations

from typing import Any


def side_sums(values: Any, rows: Any, indptr: Any, side: Any, sums: Any, squares: Any, counts: Any) -> None:
    """Add up the stored numbers of each column on sides 1 and 2: as `group_sums`, in registers."""
    for column in range(len(indptr) - 1):
        first = first_square = second = second_square = 0.0
        n_first = n_second = 0
        for at in range(indptr[column], indptr[column + 1]):
            of = side[rows[at]]
            if of == 2:
                value = float(values[at])
                second += value
                second_square += value * value
                n_second += 1
            elif of == 1:
                value = float(values[at])
                first += value
                first_square += value * value
                n_first += 1
        sums[column, 1], squares[column, 1], counts[column, 1] = first, first_square, n_first
        sums[column, 2], squares[column, 2], counts[column, 2] = second, second_square, n_second


def group_sums(values: Any, rows: Any, indptr: Any, group: Any, sums: Any) -> None:
    """Add up the stored numbers of each column by the group of their cells."""
    for column in range(len(indptr) - 1):
        own = sums[column]
        for at in range(indptr[column], indptr[column + 1]):
            own[group[rows[at]]] += values[at]

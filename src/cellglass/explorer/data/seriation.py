"""Orders of the rows and columns of a table in which alike ones stand together, by hierarchical clustering."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def tree_of(x: Array) -> Array:
    """Return the average-linkage tree of the rows of `x` by Euclidean distance, as scipy has it: (rows - 1, 4)."""
    from scipy.cluster.hierarchy import linkage

    found: Array = linkage(x, "average") if len(x) > 1 else np.zeros((0, 4))
    return found


def guided(x: Array, weight: Array) -> Array:
    """Return the order of rows in which, at each branching of the tree, the side of the lower mean weight comes first.

    Of equal weights the side with the lowest number comes first.
    """
    parts: list[Array] = [np.array([row]) for row in range(len(x))]
    for one, other in tree_of(x)[:, :2].astype(np.int64):
        sides = sorted((parts[one], parts[other]), key=lambda rows: (round(float(weight[rows].mean()), 9), rows.min()))
        parts.append(np.concatenate(sides))
    return parts[-1] if parts else np.zeros(0, dtype=np.int64)


def along(x: Array, columns: Array) -> Array:
    """Return the order of rows, alike ones together, that follows columns: rows of the first columns come first.

    Parameters
    ----------
    x : numpy.ndarray
        Shares, 0 to 1.
    columns : numpy.ndarray
        The order of the columns.

    Notes
    -----
    The weight of a row is its centre on the ordered columns, sum_j x_j^2 j / sum_j x_j^2; rows of zeros come last.
    """
    squares = x[:, columns] ** 2
    total = squares.sum(axis=1)
    some, none = np.flatnonzero(total > 0), np.flatnonzero(total == 0)
    centre = squares[some] @ np.arange(len(columns)) / total[some]
    return np.concatenate([some[guided(x[some], centre)], none])


def diagonal(x: Array, turns: int = 3) -> tuple[Array, Array]:
    """Return orders of rows and of columns, alike ones together, so that large values lie along the diagonal.

    The trees of rows and of columns say what is alike; their branchings are turned towards each other, some times.
    """
    columns = guided(x.T, np.arange(x.shape[1]))
    for _ in range(turns):
        columns = along(x.T, along(x, columns))
    return along(x, columns), columns

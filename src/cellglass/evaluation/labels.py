"""What alignment and probes share: labels as numbers, stratified splits, and a bounded sample of cells.

Knows nothing of dictionaries. Cells whose label is missing, and values with too few cells to be split, take no part.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.errors import InputError
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

MIN_CELLS = 4
"""A value with fewer cells is left out: it cannot be split into two halves of at least two cells."""

MAX_CELLS = 20_000
"""Alignment and probes look at no more cells than this: their error is then far below the spread over seeds."""


class Labels(NamedTuple):
    """A label column as numbers.

    Attributes
    ----------
    code : numpy.ndarray of int64, shape (n_cells,)
        Position in `names`; -1 where the cell takes no part.
    names : list of str
        The values that have at least `MIN_CELLS` cells, sorted.
    """

    code: Array
    names: list[str]


def encode_labels(column: pd.Series[Any]) -> Labels:
    """Return `column` as numbers. InputError where fewer than two values have enough cells."""
    text = [str(value) if known else None for value, known in zip(column, column.notna(), strict=True)]
    counts = Counter(text)
    values = sorted(value for value, n in counts.items() if value is not None and n >= MIN_CELLS)
    if len(values) < 2:
        raise InputError(
            f"label column {column.name!r} has {len(values)} values with at least {MIN_CELLS} cells, and a "
            "label needs two; name another column"
        )
    position = {value: i for i, value in enumerate(values)}
    code = [-1 if value is None else position.get(value, -1) for value in text]
    return Labels(np.asarray(code, dtype=np.int64), values)


def split(code: Array, share: float, rng: np.random.Generator) -> Array:
    """Return a mask (n_cells,) that holds `share` of the cells of each value, drawn at random, and no unlabelled cell.

    Of each value at least one cell lies on each side.
    """
    taken = np.zeros(len(code), dtype=bool)
    for value in np.unique(code[code >= 0]):
        rows = rng.permutation(np.flatnonzero(code == value))
        taken[rows[: int(np.clip(round(share * len(rows)), 1, max(len(rows) - 1, 1)))]] = True
    return taken


def shuffled(code: Array, groups: Array, rng: np.random.Generator) -> Array:
    """Return `code` permuted among the labelled cells of each group: each keeps its numbers of each value."""
    result = code.copy()
    for group in np.unique(groups):
        rows = np.flatnonzero((groups == group) & (code >= 0))
        result[rows] = code[rng.permutation(rows)]
    return result


def sample_rows(n_rows: int, seed: int, limit: int = MAX_CELLS) -> Array:
    """Return all rows, or `limit` of them drawn at random where there are more, in ascending order."""
    if n_rows <= limit:
        return np.arange(n_rows)
    return np.sort(generator(seed, "evaluation", "rows").choice(n_rows, limit, replace=False))

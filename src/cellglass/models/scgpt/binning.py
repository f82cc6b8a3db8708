"""Values of a cell in quantile bins, as scGPT reads them: a function of one cell's values, whatever their unit.

With n bins, 0 is kept for a count of 0, and a cell's non-zero values v lie in bins 1 ... n - 1:

    edges = quantile(v, (0, 1/(n-2), ..., 1))            n - 1 edges
    lower = edges below v,   upper = edges at or below v
    bin   = floor((lower + 1 + upper) / 2)

A value that equals no edge or one edge is in bin ``upper``. Counts are small integers, so often several edges equal
one value, and each of the bins lower + 1 ... upper fits it. The published code has both ways out: the highest of them,
or one drawn uniformly, anew in each run. Here it is the middle one: the mean of that draw, rounded down to a whole bin
where it lies between two. Of all fixed rules it is nearest to the draw in the square mean, and a cell is always the
same. Order is kept, so the bins are those of any increasing function of the values (a share, a logarithm), but for
rounding in the edges. Knows neither genes nor networks.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cellglass.compiled import compiled
from cellglass.errors import InputError
from cellglass.threads import over_rows

Array = np.ndarray[Any, Any]
Ints = np.ndarray[Any, np.dtype[np.int64]]


def bin_values(values: Array, start: Array, n_bins: int) -> Ints:
    """Return the bin of each value among the values of its cell.

    Parameters
    ----------
    values : array, shape (n_values,)
        Non-zero values, cell after cell: ``data`` of a CSR matrix.
    start : array of int, shape (n_cells + 1,)
        Where each cell's values begin: ``indptr`` of the matrix.
    n_bins : int
        Number of bins, that of zero among them; scGPT's is 51.

    Returns
    -------
    numpy.ndarray of int64, shape (n_values,)
        Bins 1 ... n_bins - 1.

    Raises
    ------
    InputError
        If there are fewer than 3 bins.
    """
    if n_bins < 3:
        raise InputError(f"value binning: n_bins is {n_bins}; it must be at least 3, since one bin is that of zero")
    bins = np.empty(len(values), dtype=np.int64)
    shares = np.linspace(0.0, 1.0, n_bins - 1)
    of_cell = compiled(_bins)
    wide, first = np.asarray(values, dtype=np.float64), np.asarray(start, dtype=np.int64)
    over_rows(len(first) - 1, len(wide), lambda a, b: of_cell(wide, first[a : b + 1], shares, bins))
    return bins


def _bins(values: Array, start: Array, shares: Array, bins: Array) -> None:
    """Fill `bins` (compiled). The edges are those of ``numpy.quantile``, to the last bit."""
    edges = np.empty(len(shares))
    for cell in range(len(start) - 1):
        first, last = start[cell], start[cell + 1]
        n = last - first
        if n == 0:
            continue
        ordered = np.sort(values[first:last])
        for k in range(len(shares)):
            place = (n - 1) * shares[k]
            low = int(place)
            part = place - low
            below, above = ordered[low], ordered[min(low + 1, n - 1)]
            gap = above - below
            edges[k] = below + gap * part if part < 0.5 else above - gap * (1.0 - part)
        for i in range(first, last):
            lower = np.searchsorted(edges, values[i], side="left")
            upper = np.searchsorted(edges, values[i], side="right")
            bins[i] = (lower + 1 + upper) // 2

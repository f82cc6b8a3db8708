"""Differences between two sets of cells with donors as the unit: cells of one donor are no independent samples.

Each donor with at least `FEWEST_CELLS` cells on a side has the mean of its cells there (pseudobulk): of a concept its
activation, of a gene y = log(1 + 10,000 count / (all counts of the cell)). Then

    paired     donors with cells on both sides, at least `FEWEST_DONORS`: d = mean in the set - mean in the other,
               t = mean(d) / (sd(d) / sqrt(n)) with n - 1 degrees of freedom
    unpaired   else, where each side has at least `FEWEST_DONORS`: Welch's t of the donors' means

q is Benjamini and Hochberg's over all concepts, or all genes. With a few donors such a test finds only what is large
and steady; that is what few donors can show.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from cellglass.atlas.columns import Array
from cellglass.atlas.markers import _kernels
from cellglass.compiled import compiled
from cellglass.statistics import benjamini_hochberg, welch

FEWEST_CELLS, FEWEST_DONORS = 5, 3


class DonorMarks(NamedTuple):
    """What donors say; the arrays are over concepts or genes, in the atlas's order, and empty where `why` is not."""

    test: str
    """``paired``, ``unpaired`` or ``none``."""
    n: tuple[int, int]
    """Donors of either side that the test compares."""
    why: str
    """Why there is no test, in words."""
    difference: Array
    """Mean over donors of the set less that of the other; of pairs the mean of their differences."""
    t: Array
    p: Array
    q: Array


class Donors:
    """Which cells belong to which donor and side.

    Parameters
    ----------
    side : numpy.ndarray
        1 or 2 for each cell, 0 for one of neither.
    donor : numpy.ndarray
        The number of its donor, 0 for none.

    Attributes
    ----------
    group : numpy.ndarray, uint16
        0 for a cell that does not count, 2 d + 1 for one of donor d's on the first side and 2 d + 2 on the second, of
        the donors that count.
    sizes : numpy.ndarray, int64
        Cells of each donor (rows) on each side.
    """

    def __init__(self, side: Array, donor: Array) -> None:
        counted = (side > 0) & (donor > 0)
        self.sizes = np.zeros((int(donor.max(initial=0)) + 1, 2), dtype=np.int64)
        np.add.at(self.sizes, (donor[counted].astype(np.int64), side[counted].astype(np.int64) - 1), 1)
        enough = self.sizes >= FEWEST_CELLS
        self.paired = int(enough.all(axis=1).sum()) >= FEWEST_DONORS
        self._used = np.flatnonzero(enough.all(axis=1) if self.paired else enough.any(axis=1))
        self.sizes = np.where(enough, self.sizes, 0)[self._used]
        place = np.full(len(enough), -1, dtype=np.int64)
        place[self._used] = np.arange(len(self._used))
        of = place[donor.astype(np.int64)]
        self.group = np.where(counted & (of >= 0), 2 * of + side, 0).astype(np.uint16)

    @property
    def n(self) -> tuple[int, int]:
        """Donors with enough cells on each side."""
        first, second = (self.sizes > 0).sum(axis=0).tolist()
        return first, second

    @property
    def why(self) -> str:
        """Why donors cannot be compared; nothing where they can."""
        if self.paired or min(self.n) >= FEWEST_DONORS:
            return ""
        return (
            f"too few donors: {self.n[0]} have at least {FEWEST_CELLS} cells in the set and {self.n[1]} in the other; "
            f"a test needs {FEWEST_DONORS} with both, or {FEWEST_DONORS} on each side"
        )


def by_donor(donors: Donors, sums: Iterable[Array]) -> DonorMarks:
    """Return the differences between the sides over donors.

    Parameters
    ----------
    sums : iterable of numpy.ndarray
        Of blocks of columns, the sum of each column (rows) in each group of `donors`.
    """
    if donors.why:
        none = np.zeros(0)
        return DonorMarks("none", donors.n, donors.why, none, none, none, none)
    parts = [_tested(donors, block) for block in sums]
    difference, t, p = (np.concatenate(part) for part in zip(*parts, strict=True)) if parts else [np.zeros(0)] * 3
    kind = "paired" if donors.paired else "unpaired"
    return DonorMarks(kind, donors.n, "", difference, t, p, benjamini_hochberg(p))


def _tested(donors: Donors, sums: Array) -> tuple[Array, Array, Array]:
    n = len(donors.sizes)
    by_side = np.zeros((len(sums), n, 2))
    by_side.reshape(len(sums), -1)[:, : sums.shape[1] - 1] = sums[:, 1 : 2 * n + 1]
    means = by_side / np.maximum(donors.sizes, 1)
    if donors.paired:
        change = means[:, :, 0] - means[:, :, 1]
        difference = change.mean(axis=1)
        test = welch(difference, change.var(axis=1, ddof=1) / n, n, np.zeros(len(sums)), n)
        return difference, test.t, test.p
    first, second = (means[:, donors.sizes[:, side] > 0, side] for side in (0, 1))
    difference = first.mean(axis=1) - second.mean(axis=1)
    errors = [some.var(axis=1, ddof=1) / some.shape[1] for some in (first, second)]
    test = welch(difference, errors[0], first.shape[1], errors[1], second.shape[1])
    return difference, test.t, test.p


def side_sums(values: Array, rows: Array, indptr: Array, side: Array) -> tuple[Array, Array, Array]:
    """Return sum, sum of squares and number of a block's stored numbers by column and side, float64 and int64.

    Parameters
    ----------
    values, rows, indptr : numpy.ndarray
        The block, as CSC.
    side : numpy.ndarray
        1 or 2 for each cell, 0 for one of neither.
    """
    shape = (len(indptr) - 1, 3)
    sums, squares, counts = np.zeros(shape), np.zeros(shape), np.zeros(shape, dtype=np.int64)
    compiled(_kernels.side_sums)(values, rows, indptr.astype(np.int64, copy=False), side, sums, squares, counts)
    return sums, squares, counts


def group_sums(values: Array, rows: Array, indptr: Array, group: Array) -> Array:
    """Return the sum of a block's stored numbers by column and group, float64."""
    sums = np.zeros((len(indptr) - 1, int(group.max(initial=0)) + 1))
    compiled(_kernels.group_sums)(values, rows, indptr.astype(np.int64, copy=False), group, sums)
    return sums

"""Are these raw counts? If not, say what they look like. Judges values, block by block; reads no files.

Raw counts are finite, non-negative integers. What else a matrix may hold is recognised like this, with v the entries of
a cell and s any positive number of that cell:

- scaled: negative and fractional, and most genes lie on both sides of 0;
- normalised: fractional, all cells have one sum, or v / min(v) are integers in most cells (v = s * count);
- log-transformed: the same holds after undoing log1p to base e, 2 or 10; or, as a guess, no value exceeds 15;
- otherwise fractional, such as estimated or corrected counts; so too if a tenth of the entries or less is fractional.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp

Floats = np.ndarray[Any, Any]

INTEGER_TOLERANCE = 1e-4
"""How far from an integer a stored count may lie (files keep some counts as rounded products)."""

LARGEST = float(1 << 24)
"""Up to here float32 holds every integer; no cell holds that many molecules of a gene."""

_LOGS: dict[str, Callable[[Floats], Floats]] = {
    "log1p": np.expm1,
    "log2(1 + x)": lambda v: np.exp2(v) - 1,
    "log10(1 + x)": lambda v: 10.0**v - 1,
}


class NotCountsError(Exception):
    """The values are no raw counts: `what` completes the sentence "X ..."; `remedy`, if any, is the way out."""

    def __init__(self, what: str, remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy


def as_counts(block: sp.csr_matrix, cells: Any, genes: Any, *, rounded: bool = False) -> sp.csr_matrix:
    """Return a block of raw counts as canonical float32 CSR without stored zeros; `block` may be changed.

    Parameters
    ----------
    block : scipy.sparse.csr_matrix, shape (n_cells, n_genes)
        Canonical (sorted, no duplicates).
    cells, genes : sequences
        Names for messages, one for each row and column of the block.
    rounded : bool
        Take estimated or corrected counts too, rounded to the nearest whole number, half to even. Values that are
        normalised, log-transformed or scaled stay refused.

    Raises
    ------
    NotCountsError
        If a value is no count; the message says what the block looks like and where that shows first.
    """
    block.eliminate_zeros()
    values = block.data
    nearest = values if values.dtype.kind in "iu" else np.rint(values)

    def first(bad: np.ndarray[Any, Any]) -> str:
        at = int(np.flatnonzero(bad)[0])
        row = int(np.searchsorted(block.indptr, at, side="right")) - 1
        return f"cell {str(cells[row])!r}, gene {str(genes[block.indices[at]])!r}"

    if values.dtype.kind == "f" and not np.isfinite(values).all():
        bad = ~np.isfinite(values)
        name = "NaN" if np.isnan(values[bad][0]) else "infinity"
        raise NotCountsError(f"holds {name}, first in {first(bad)}", "repair or remove such cells or genes")
    fractional = (np.abs(values - nearest) > INTEGER_TOLERANCE) | ((nearest == 0) & (values != 0))
    negative = values < 0
    if negative.any():
        what = "is scaled (z-scores or residuals: genes lie on both sides of 0)"
        if not (fractional.any() and _both_signs(block)):
            what = f"holds negative values, first {values[negative][0]:g} in {first(negative)}"
        raise NotCountsError(what)
    if fractional.any():
        what = _transformation(block, guess=not rounded) if fractional.mean() > 0.1 else ""
        if what:
            raise NotCountsError(what)
        if not rounded:
            raise NotCountsError(
                f"holds fractional values, first {values[fractional][0]:.6g} in {first(fractional)}",
                "if they are estimated or corrected counts (SoupX, RSEM), have them rounded with --round "
                "(in Python round_counts=True)",
            )
    if len(values) and values.max() > LARGEST:
        large = values > LARGEST
        raise NotCountsError(f"holds {values[large][0]:g} in {first(large)}, too large for a count of molecules")
    counts = sp.csr_matrix((nearest.astype(np.float32), block.indices, block.indptr), shape=block.shape)
    counts.has_canonical_format = True
    if rounded:
        counts.eliminate_zeros()
    return counts


def _both_signs(block: sp.csr_matrix) -> bool:
    below = np.unique(block.indices[block.data < 0])
    above = np.unique(block.indices[block.data > 0])
    return bool(2 * len(np.intersect1d(below, above)) > len(np.union1d(below, above)))


def _transformation(block: sp.csr_matrix, *, guess: bool) -> str:
    """Say what turned counts into these non-negative fractional values, or return an empty text.

    `guess`: say it too where values are small and no sum or multiple proves it.
    """
    values = block.data.astype(np.float64)
    logs = _LOGS if values.max() < 30 else {}
    total = _common_sum(values, block.indptr)
    if total:
        return f"is normalised (every cell sums to {total:.6g})"
    for name, undo in logs.items():
        counts = undo(values)
        total = _common_sum(counts, block.indptr)
        if total:
            return f"is log-transformed ({name}: undone, every cell sums to {total:.6g})"
        if _multiples(counts, block.indptr):
            return f"is log-transformed ({name}: undone, a cell's values are whole multiples of its smallest)"
    if _multiples(values, block.indptr):
        return "is normalised (a cell's values are whole multiples of its smallest)"
    if guess and values.max() < 15 and np.mean(np.abs(values - np.rint(values)) > INTEGER_TOLERANCE) > 0.5:
        return f"is probably log-transformed (mostly fractional, largest value {values.max():.3g})"
    return ""


def _common_sum(values: np.ndarray[Any, Any], indptr: np.ndarray[Any, Any]) -> float:
    """Return the sum that all cells with entries share to 0.1 %, else 0; one cell alone shares with nobody."""
    sums = np.add.reduceat(values, indptr[:-1][np.diff(indptr) > 0])
    middle = float(np.median(sums))
    return middle if len(sums) > 1 and np.abs(sums / middle - 1).max() < 1e-3 else 0.0


def _multiples(values: np.ndarray[Any, Any], indptr: np.ndarray[Any, Any], cells: int = 200) -> bool:
    """Tell whether in most cells all values up to 20 times the smallest are whole multiples of it, not all the same."""
    fits = tried = evidence = 0
    for row in np.flatnonzero(np.diff(indptr) > 2)[:cells]:
        cell = values[indptr[row] : indptr[row + 1]]
        ratio = cell[cell > 0] / cell[cell > 0].min()
        ratio = ratio[ratio < 20]
        if len(ratio) and ratio.max() > 1.5:
            tried += 1
            evidence += int((ratio > 1.5).sum())
            fits += bool(np.abs(ratio - np.rint(ratio)).max() < 0.01)
    return evidence >= 20 and fits > 0.6 * tried

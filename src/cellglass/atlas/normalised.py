"""The one scale on which expression is shown and compared:  y = log(1 + 10,000 count / all counts of the cell).

The logarithm is natural, and all counts are those that the atlas keeps. Of a cell one number is held.
"""

from __future__ import annotations

import numpy as np

from cellglass.atlas.columns import Array, Columns

PER = 1e4


def cell_scales(counts: Columns) -> Array:
    """Return what a count of each cell is multiplied by, float32 (n_cells,): 10,000 / its counts; 0 without counts.

    It passes over all counts once.
    """
    total = np.zeros(counts.shape[0])
    for block in counts.blocks():
        total += np.bincount(block.rows, weights=block.data, minlength=len(total))
    return np.divide(PER, total, out=np.zeros(len(total)), where=total > 0).astype(np.float32)


def normalised(counts: Array, scales: Array) -> Array:
    """Return y of counts, float32, with the scale of the cell of each."""
    y: Array = np.log1p(counts.astype(np.float32) * scales)
    return y

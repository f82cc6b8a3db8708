"""The one scale on which expression is shown and compared:  y = log(1 + 10,000 count / all counts of the cell).

The logarithm is natural, and all counts are those that the atlas keeps. Of a cell one number is held.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cellglass.atlas import schema
from cellglass.atlas.columns import Array, Columns
from cellglass.atlas.reading import AGAIN, reading
from cellglass.errors import DamagedError

PER = 1e4


def cell_scales(counts: Columns) -> Array:
    """Return what a count of each cell is multiplied by, float32 (n_cells,): 10,000 / its counts; 0 without counts.

    The sums are those that ``obs`` of the same folder states; of an older atlas all counts are passed over once.
    """
    total = _stated(counts)
    if total is None:
        total = np.zeros(counts.shape[0])
        for block in counts.blocks():
            total += np.bincount(block.rows, weights=block.data, minlength=len(total))
    return np.divide(PER, total, out=np.zeros(len(total)), where=total > 0).astype(np.float32)


def _stated(counts: Columns) -> Array | None:
    """Return the sum of the counts of each cell as the folder states it, or None where it does not."""

    def read() -> Any:
        import zarr

        group: Any = zarr.open_group(str(counts.place), mode="r")
        name = f"obs/{schema.TOTAL}"
        return np.asarray(group[name][:], dtype=np.float64) if name in group else None

    total: Array | None = reading(counts.place / "obs", read)
    if total is not None and (total.shape != counts.shape[:1] or not np.isfinite(total).all()):
        raise DamagedError(f"{counts.place}: obs column {schema.TOTAL!r} is damaged; {AGAIN}")
    return total


def normalised(counts: Array, scales: Array) -> Array:
    """Return y of counts, float32, with the scale of the cell of each."""
    y: Array = np.log1p(counts.astype(np.float32) * scales)
    return y

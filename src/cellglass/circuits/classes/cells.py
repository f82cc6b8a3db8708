"""Which cells make the circuit of a class: an order of all cells of a label in which donors take turns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from cellglass.cells.cells import Cells
from cellglass.errors import InputError, listed
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]


def ordered_cells(cells: Cells, labels: str, label: str, batch: str | None = None, seed: int = 0) -> Array:
    """Return the positions of all cells of a label, int64 (n,).

    The first n of them are those of a smaller circuit too. Each donor's cells stand in an order of their own, drawn
    from the seed; donors take turns, so that the first cells are of as many donors as there are.

    Parameters
    ----------
    cells
    labels
        Column of obs with the labels.
    label
        Which.
    batch
        Column of obs with the donors; cells without one are left out.
    seed

    Raises
    ------
    InputError
        No such column, or no cell with the label.
    """
    values = cells.column(labels)
    here = np.flatnonzero((values.astype(str) == label).to_numpy(dtype=bool) & values.notna().to_numpy())
    if not len(here):
        known = sorted({str(value) for value in values.dropna()})
        raise InputError(f"{cells.source}: no cell has {label!r} in column {labels!r}; it has: {listed(known)}")
    here = np.asarray(generator(seed, "class cells", label).permutation(here))
    if batch is None:
        return here
    donors = donors_of(cells, batch)[here]
    here, donors = here[donors != ""], donors[donors != ""]
    if not len(here):
        raise InputError(f"{cells.source}: no cell of {label!r} has a value in column {batch!r}")
    number = pd.factorize(donors)[0]  # in drawn order
    turn = pd.Series(number).groupby(number).cumcount().to_numpy()
    return np.asarray(here[np.lexsort((number, turn))])


def donors_of(cells: Cells, batch: str) -> Array:
    """Return the donor of each cell, "" where there is none, object (n_cells,)."""
    values = cells.column(batch)
    return np.array(values.astype(str).where(values.notna(), "").tolist())

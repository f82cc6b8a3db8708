"""In which cells a concept is active: how strongly, and of which labels."""

from __future__ import annotations

from typing import Any

import numpy as np

from cellglass.atlas.columns import Column
from cellglass.explorer.data.json import shorts
from cellglass.explorer.data.source import Source

Array = np.ndarray[Any, Any]

BINS = 30
TOP_CELLS = 12
"""Strongest cells of a concept that are named, with their labels."""
MOST_VALUES = 64
"""Values of a label that are shown: of more, those of most active cells."""


def composition(source: Source, column: Column) -> dict[str, list[list[Any]]]:
    """Return, for each label, rows [code, active cells of the value, cells of the value, mean activation].

    The code is that of the label's file: 0 for cells without a value. The mean is over the active cells of the value,
    null where there are none. A value without cells has no row.
    """
    found = {}
    for name, codes in source.codes.items():
        n = len(source.labels[name].cat.categories) + 1
        inside = codes[column.rows]
        active = np.bincount(inside, minlength=n)
        sums = np.bincount(inside, column.values.astype(np.float64), minlength=n)
        total = source.totals[name]
        mean = np.divide(sums, active, out=np.full(n, np.nan), where=active > 0)
        shown = _most(np.where(total > 0, active, -1))
        rows = zip(shown, active[shown].tolist(), total[shown].tolist(), shorts(mean[shown]), strict=True)
        found[name] = [list(row) for row in rows]
    return found


def strongest(source: Source, column: Column) -> dict[str, Any]:
    """Return the `TOP_CELLS` cells of the largest activations: ``cells``, ``names``, ``values`` and ``labels``.

    ``labels`` has, for each label, the code of each cell (0: none, i + 1: value i), or its number. Of equal activations
    the first cells are taken.
    """
    first = np.argsort(-column.values, kind="stable")[:TOP_CELLS]
    cells = column.rows[first].astype(np.int64)
    labels = {
        name: source.codes[name][cells].tolist() if name in source.codes else shorts(values.to_numpy()[cells], 6)
        for name, values in source.labels.items()
    }
    names = [source.cell_names(int(cell), int(cell) + 1)[0] for cell in cells]
    return {"cells": cells.tolist(), "names": names, "values": shorts(column.values[first], 5), "labels": labels}


def histogram(source: Source, column: Column) -> dict[str, Any]:
    """Count the active cells with each activation: ``edges``, equal steps from 0 to the largest, ``all``, ``by``.

    ``by`` has, for each label, the counts of each value with active cells, by its code. Cells in which the concept is
    silent are not counted. Without active cells all are empty.
    """
    if not len(column.rows):
        return {"edges": [], "all": [], "by": {name: {} for name in source.codes}}
    edges = np.linspace(0.0, float(column.values.max()), BINS + 1)
    place = np.clip(np.searchsorted(edges, column.values, side="right") - 1, 0, BINS - 1)
    by = {}
    for name, codes in source.codes.items():
        n = len(source.labels[name].cat.categories) + 1
        counts = np.bincount(codes[column.rows].astype(np.int64) * BINS + place, minlength=n * BINS).reshape(n, BINS)
        shown = _most(np.where(counts.any(axis=1), counts.sum(axis=1), -1))
        by[name] = {str(code): counts[code].tolist() for code in shown}
    return {
        "edges": shorts(edges, 6),
        "all": np.bincount(place, minlength=BINS).tolist(),
        "by": by,
    }


def _most(size: Array) -> list[int]:
    """Return the places of the `MOST_VALUES` largest sizes that are not negative, ascending."""
    first = np.argsort(-size, kind="stable")[:MOST_VALUES]
    return sorted(int(place) for place in first if size[place] >= 0)

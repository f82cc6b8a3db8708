"""The heat maps of concepts and the values of a label: how strongly, how often and how exactly a concept marks a value.

For concept c and value v, among the N cells that have a value, with n(v) of the value, on(c) in which c is on (at or
above its threshold where the atlas has one, else above 0) and on(c, v) of both:

    mean   sum of the activations in the value's cells, silent ones count as 0, / n(v)
    share  on(c, v) / n(v)
    F1     2 on(c, v) / (on(c) + n(v))
    null   2 on(c) n(v) / (N (on(c) + n(v)))      the mean F1 of shuffled labels, exactly: on(c, v) is hypergeometric

Only concepts that lead the list are shown, and values of most cells, so that a map does not grow with the atlas; all
labels are counted in one pass over the activations of these concepts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cellglass.atlas.evidence import leading_order, residual
from cellglass.explorer.data.cached import cached
from cellglass.explorer.data.json import dumps, shorts
from cellglass.explorer.data.seriation import along, diagonal
from cellglass.explorer.data.source import Source

Array = np.ndarray[Any, Any]

MOST_CONCEPTS = 128
"""Concepts of a map at most, and as many residual latents."""
MOST_VALUES = 64


class Heatmaps:
    """Makes the heat map of each label of categories with two values or more."""

    def __init__(self, source: Source):
        self.source = source

    @cached
    def shown(self) -> list[int]:
        """Return the places, among the labels, of those that have a map."""
        totals = self.source.totals
        return [at for at, name in enumerate(self.source.labels) if name in totals and (totals[name][1:] > 0).sum() > 1]

    @cached
    def kinds(self) -> tuple[Array, Array]:
        """Return the positions of the concepts, and of the residual latents, that are shown, in the order of lists."""
        order, alive = leading_order(self.source.var), self.source.activations.sizes > 0
        order, rest = order[alive[order]], residual(self.source.var)
        return order[~rest[order]][:MOST_CONCEPTS], order[rest[order]][:MOST_CONCEPTS]

    @cached
    def _counts(self) -> dict[str, tuple[Array, Array]]:
        """Return, for each label that is shown, on(c, v) and sums of activations, (latents of `kinds`, codes)."""
        source, chosen = self.source, np.concatenate(self.kinds)
        names = [list(source.labels)[place] for place in self.shown]
        threshold = source.var["threshold"].to_numpy(np.float64) if "threshold" in source.var else None
        shapes = {name: (len(chosen), len(source.totals[name])) for name in names}
        found = {name: (np.zeros(shape, np.int64), np.zeros(shape)) for name, shape in shapes.items()}
        row = {int(position): place for place, position in enumerate(chosen)}
        for position, (cells, values) in source.activations.each(chosen):
            low = np.nan if threshold is None else threshold[position]
            on = values >= np.float32(low) if np.isfinite(low) else np.ones(len(values), dtype=bool)
            for name in names:
                codes, n = source.codes[name][cells], len(source.totals[name])
                found[name][0][row[position]] = np.bincount(codes[on], minlength=n)
                found[name][1][row[position]] = np.bincount(codes, values.astype(np.float64), minlength=n)
        return found

    def file(self, place: int) -> bytes:
        """Return the map of the label at a place; `page` says what stands in it."""
        name = list(self.source.labels)[place]
        counts, sums = (table[:, 1:] for table in self._counts[name])
        concepts, rest = self.kinds
        sizes = self.source.totals[name][1:]
        alive = int(((self.source.activations.sizes > 0) & ~residual(self.source.var)).sum())
        latents = self.source.latents[np.concatenate([concepts, rest])]
        return dumps(
            {"label": name, "n_concepts": alive, **page(counts, sums, sizes, latents, len(concepts), MOST_VALUES)}
        )


def page(counts: Array, sums: Array, sizes: Array, latents: Array, n: int, most: int) -> dict[str, Any]:
    """Return a map with its rows and columns in order.

    Parameters
    ----------
    counts, sums : numpy.ndarray
        on(c, v) and sums of activations, (latents, values).
    sizes : numpy.ndarray
        Cells of each value.
    latents : numpy.ndarray
        The latent number of each row; the first `n` are concepts, the others residual.
    most : int
        Values that are shown at most: those of most cells.

    Returns
    -------
    dict
        ``codes`` (value + 1) and ``sizes`` of the columns, ``hidden`` values that are not shown and ``cells`` with any
        value; ``latents``, of which the first ``concepts`` are no residual ones; ``on``, cells in which each is on;
        and by row ``counts``, ``mean``, ``f1`` and ``null``. Alike columns stand together, and alike rows, by the mean
        activation over the largest of its row.
    """
    cells, on = int(sizes.sum()), counts.sum(axis=1)
    there = np.flatnonzero(sizes > 0)
    values = np.sort(there[np.argsort(-sizes[there], kind="stable")[:most]])
    n_value = sizes[values]
    mean = sums[:, values] / n_value
    largest = mean.max(axis=1, keepdims=True, initial=0.0)
    scaled = np.divide(mean, largest, out=np.zeros_like(mean), where=largest > 0)
    first, columns = diagonal(scaled[:n])
    rows = np.concatenate([first, n + along(scaled[n:], columns)])
    both = np.maximum(on[:, None] + n_value, 1)
    tables = {
        "mean": mean,
        "f1": 2 * counts[:, values] / both,
        "null": 2 * on[:, None] * n_value / (max(cells, 1) * both),
    }
    return {
        "codes": (values[columns] + 1).tolist(),
        "sizes": n_value[columns].tolist(),
        "hidden": len(there) - len(values),
        "cells": cells,
        "concepts": n,
        "latents": latents[rows].tolist(),
        "on": on[rows].tolist(),
        "counts": counts[np.ix_(rows, values[columns])].tolist(),
        **{name: [shorts(row) for row in table[np.ix_(rows, columns)]] for name, table in tables.items()},
    }

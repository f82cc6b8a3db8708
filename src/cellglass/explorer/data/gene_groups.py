"""How much of a gene the cells of each value of each label have: the numbers of a dot plot, over all cells.

Expression is on the scale of `cellglass.atlas.normalised`. A file holds `GENE_SHARD` genes, so that a plot of several
genes reads few files. They are of all cells also in a report that draws a sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cellglass.atlas.columns import Column
from cellglass.explorer.data.json import dumps, shorts
from cellglass.explorer.data.search_index import GENE_SHARD
from cellglass.explorer.data.source import Source

Array = np.ndarray[Any, Any]

MOST_VALUES = 64
"""Values of a label that are told of: of more, those with most cells."""


def shard(source: Source, number: int) -> bytes:
    """Return `groups` of the genes of one file, by their numbers."""
    first = number * GENE_SHARD
    genes = range(first, min(first + GENE_SHARD, len(source.expression or ())))
    return dumps({str(gene): groups(source, column) for gene, column in source.expressed(genes)})


def groups(source: Source, column: Column) -> dict[str, list[list[Any]]]:
    """Return, for each label of categories, rows [code, cells that have it, cells, mean of all, mean of those].

    The code is that of the label's file: 0 for cells without a value. The mean of those that have it is null where none
    has. A value without cells has no row.
    """
    found = {}
    for name, codes in source.codes.items():
        total = source.totals[name]
        inside = codes[column.rows]
        having = np.bincount(inside, minlength=len(total))
        sums = np.bincount(inside, weights=column.values, minlength=len(total))
        shown = np.sort(np.argsort(-total, kind="stable")[:MOST_VALUES])
        shown = shown[total[shown] > 0]
        means = [_divided(sums[shown], of[shown]) for of in (total, having)]
        rows = zip(shown.tolist(), having[shown].tolist(), total[shown].tolist(), *map(shorts, means), strict=True)
        found[name] = [list(row) for row in rows]
    return found


def _divided(sums: Array, n: Array) -> Array:
    found: Array = np.divide(sums, n, out=np.full(len(n), np.nan), where=n > 0)
    return found

"""Knock-outs: in each prototype, one gene at a time gets the count 0.

For a prototype p with activation a_c(p) of concept c:

    effect_g = (a_c(p) - a_c(p with gene g at 0)) / a_c(p)

0 where p does not express g. Reported are mean and standard error over prototypes, and no q: to a network nearly every
gene that it reads matters a little, so whether an effect differs from 0, or from the average gene's, says nothing of
the concept (of cells without any structure a third of the genes would pass), and there is no pair to take a null from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellglass.attribution import statistics, tables
from cellglass.attribution.edits import Edits
from cellglass.attribution.method import Method, needs
from cellglass.attribution.work import Block, columns

if TYPE_CHECKING:
    import scipy.sparse as sp

Array = np.ndarray[Any, Any]


def knockout_edits(counts: sp.csr_matrix, prototype: Array, concept: Array) -> Edits:
    """Return one edit for each prototype and gene that it expresses: its count becomes 0."""
    taken = counts[prototype].tocoo()
    present = taken.data > 0
    row, gene = taken.row[present].astype(np.int64), taken.col[present].astype(np.int64)
    return Edits.of(row, gene, np.zeros(len(row), dtype=np.float32), prototype, concept)


def edits(block: Block) -> tuple[pd.DataFrame, Edits]:
    """Return the knock-outs of each prototype, once for each of its concepts."""
    alone = block.pairs.drop_duplicates(["concept", "prototype"])
    return alone, knockout_edits(block.work.cells.counts, *columns(alone, "prototype", "concept"))


def rows(block: Block, on: str) -> pd.DataFrame:
    """Return the genes that a prototype expresses; ``n`` counts such prototypes."""
    work, frames = block.work, []
    for concept, _, effects, _, gene in block.changed[ENTRY.name].each(on, work.cells.n_genes):
        n = np.bincount(gene, minlength=work.cells.n_genes)  # (n_genes,)
        frames.append(tables.statistics_rows(concept, work.genes, statistics.described(effects), n, np.ones(len(n))))
    return tables.joined(frames, tables.MEASURED)


ENTRY = Method(
    name="knockout",
    title="Knock-out",
    cost="One run of the model for each gene that a prototype expresses, shared between concepts and with swaps.",
    readouts=("activation", "preactivation"),
    rows=rows,
    possible=needs("counterfactual"),
    without="no swaps and no knock-outs",
    counterfactual=True,
    edits=edits,
)

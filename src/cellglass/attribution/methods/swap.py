"""Swaps: in each prototype, one gene at a time takes the partner's count (Claye et al., arXiv 2510.25807).

For a prototype p with activation a_c(p) of concept c, and its partner p':

    effect_g = (a_c(p) - a_c(p with the count of gene g in p')) / a_c(p)

0 where the counts do not differ. Reported is the mean over real pairs; q compares real pairs with null pairs of the
same prototypes (`statistics.paired`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellglass.attribution import statistics, tables
from cellglass.attribution.edits import DENSE, Edits
from cellglass.attribution.method import Method, needs
from cellglass.attribution.work import Block, columns

if TYPE_CHECKING:
    import scipy.sparse as sp

Array = np.ndarray[Any, Any]


def swap_edits(counts: sp.csr_matrix, prototype: Array, partner: Array, concept: Array) -> Edits:
    """Return one edit for each pair and gene whose counts differ: the prototype's count becomes the partner's."""
    step = max(1, DENSE // counts.shape[1])
    rows, genes, values = [], [], []
    for start in range(0, max(1, len(prototype)), step):
        piece = slice(start, start + step)
        theirs = counts[partner[piece]].toarray()  # (<= step, n_genes)
        row, gene = np.nonzero(theirs != counts[prototype[piece]].toarray())
        rows.append(row + start)
        genes.append(gene)
        values.append(theirs[row, gene])
    row, gene, value = np.concatenate(rows), np.concatenate(genes), np.concatenate(values)
    return Edits.of(row, gene, value, prototype, concept)


def edits(block: Block) -> tuple[pd.DataFrame, Edits]:
    """Return the swaps of all pairs, real and null."""
    return block.pairs, swap_edits(block.work.cells.counts, *columns(block.pairs, "prototype", "partner", "concept"))


def rows(block: Block, on: str) -> pd.DataFrame:
    """Return the genes that differ in a real pair; ``n`` counts such pairs."""
    from cellglass.attribution.pairs import at_real_distance

    work, frames = block.work, []
    for concept, pairs, effects, row, gene in block.changed[ENTRY.name].each(on, work.cells.n_genes):
        null = (pairs["kind"] == "null").to_numpy()  # (m,)
        n = np.bincount(gene[~null[row]], minlength=work.cells.n_genes)  # (n_genes,)
        prototype, partner = columns(pairs, "prototype", "partner")
        found = statistics.paired(at_real_distance(work, pairs, effects), prototype, partner, null, n > 0)
        frames.append(tables.statistics_rows(concept, work.genes, found, n, work.change(pairs[~null])))
    return tables.joined(frames, tables.MEASURED)


ENTRY = Method(
    name="swap",
    title="Swap",
    cost="One run of the model for each count that differs within a pair, shared between pairs and with knock-outs.",
    readouts=("activation", "preactivation"),
    rows=rows,
    possible=needs("counterfactual"),
    without="no swaps and no knock-outs",
    counterfactual=True,
    edits=edits,
    ranking="activation",
    preference=2,
)

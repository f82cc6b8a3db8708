"""Correlation of a gene's expression with a concept's activation over cells: the comparison that asks no model.

    r_g = corr(log1p(s_c x_cg), a_c),     Pearson, over the cells c

with x counts, s_c brings a cell to the median total, a the concept's activation (0 where it is off). The standard
error is (1 - r^2) / sqrt(n - 1); p is of Student's t with n - 2 degrees of freedom, q by Benjamini and Hochberg over
the genes that vary. Cells of one sample are no independent draws, so q is small for most genes: a comparison, as
differential expression is. Of more cells than `AttributionConfig.max_candidates`, a seeded sample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.attribution import tables
from cellglass.attribution.method import Method
from cellglass.seeds import generator
from cellglass.statistics import benjamini_hochberg
from cellglass.vocabulary import TITLES

if TYPE_CHECKING:
    from cellglass.attribution.work import Block, Work

Array = np.ndarray[Any, Any]
_CELLS = 4096


class Sample(NamedTuple):
    """The cells that are looked at, ascending, and the factor that brings each to the median total."""

    rows: Array
    scale: Array


def sample(work: Work) -> Sample:
    """Return the cells, all or a seeded sample."""
    n, most = work.cells.n_cells, work.config.max_candidates
    rows = np.arange(n)
    if n > most:
        rows = np.sort(generator(work.seed, "attribution", "correlation").choice(n, most, replace=False))
    totals = work.cells.totals[rows]
    return Sample(rows, np.median(totals) / np.maximum(totals, 1.0))


def correlations(work: Work, concepts: list[int], chosen: Sample) -> Array:
    """Return r of each gene with each concept, float64 (n_genes, n_concepts); 0 where either does not vary."""
    n, n_genes = len(chosen.rows), work.cells.n_genes
    codes = work.codes[:, concepts].tocsr()
    both = np.zeros((n_genes, len(concepts)))
    gene, concept = np.zeros((2, n_genes)), np.zeros((2, len(concepts)))
    for start in range(0, n, _CELLS):
        piece = slice(start, start + _CELLS)
        x = work.cells.counts[chosen.rows[piece]].astype(np.float64)
        x.data = np.log1p(x.data * np.repeat(chosen.scale[piece], np.diff(x.indptr)))
        a = codes[chosen.rows[piece]].astype(np.float64)
        both += (x.T @ a).toarray()
        for sums, values in ((gene, x), (concept, a)):
            sums[0] += np.asarray(values.sum(axis=0)).ravel()
            sums[1] += np.asarray(values.multiply(values).sum(axis=0)).ravel()
    mean_x, mean_a = gene[0] / n, concept[0] / n
    sd_x, sd_a = (np.sqrt(np.maximum(s[1] / n - m**2, 0.0)) for s, m in ((gene, mean_x), (concept, mean_a)))
    spread = np.outer(sd_x, sd_a)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.clip(np.where(spread > 1e-12, (both / n - np.outer(mean_x, mean_a)) / spread, 0.0), -1, 1)


def rows(block: Block, on: str) -> pd.DataFrame:  # noqa: ARG001 (there is one)
    """Return all genes; ``effect`` and ``score`` are r, ``n`` counts cells."""
    from scipy.special import stdtr

    work = block.work
    chosen = work.once("correlation", lambda: sample(work))
    n, frames = len(chosen.rows), list[pd.DataFrame]()
    if n < 3:
        return tables.joined(frames, tables.MEASURED)
    every = correlations(work, list(block.concepts), chosen)
    for concept, r in zip(block.concepts, every.T, strict=True):
        with np.errstate(divide="ignore"):
            t = np.abs(r) * np.sqrt((n - 2) / np.maximum(1 - r**2, 0.0))
        q, varies = np.full(len(r), np.nan), r != 0
        if varies.any():
            q[varies] = benjamini_hochberg(2 * stdtr(n - 2, -t[varies]))
        se = (1 - r**2) / np.sqrt(n - 1)
        frames.append(tables.rows_of(concept, work.genes, effect=r, se=se, score=r, q=q, n=np.full(len(r), n)))
    return tables.joined(frames, tables.MEASURED)


ENTRY = Method(
    name="correlation",
    title=TITLES["correlation"],
    cost="One sparse product of counts and activations for each block of concepts, and no run of the model.",
    readouts=("expression",),
    rows=rows,
    ranking="expression",
    preference=10,
)

"""Differential expression of the cells in which a concept is on against all others: the comparison.

    t_g = (m1 - m0) / sqrt(v1 / n1 + v0 / n0),     of log1p(s_c x_cg), s_c to the median total (Welch 1947)

On is at or above the concept's threshold (`Work.on`), not above 0: a half of the cells may hold a trace of a concept.

It looks at the cells alone, never at the model: what differs between cells need not be what the model reads.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.attribution import tables
from cellglass.attribution.method import Method
from cellglass.attribution.work import Block
from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.seeds import generator
from cellglass.statistics import benjamini_hochberg, welch
from cellglass.vocabulary import TITLES

Array = np.ndarray[Any, Any]


class Expression(NamedTuple):
    """Differential expression of one concept; arrays of shape (n_genes,).

    Attributes
    ----------
    fold : float32
        log2((m1 + c) / (m0 + c)), m = exp(mean of the logs) - 1 of each side, as scanpy has it, and c = 1 / (cells of
        the smaller side): the mean that one count in one of its cells would give. scanpy's c of 1e-9 alone makes a gene
        that one side lacks some thirty powers of two; this one says no more than so many cells can show.
    t : float32
        Welch's t statistic, 0 where the gene does not vary.
    q : float32
        p adjusted by Benjamini and Hochberg over genes.
    n : int
        Cells that were compared, both sides together.
    """

    fold: Array
    t: Array
    q: Array
    n: int


class Expressed:
    """Log-normalised counts of the cells that are compared, made for each concept: nothing grows with all cells.

    Parameters
    ----------
    cells : Cells
        Raw counts. Normalised to the median total over these genes, then log1p.
    at_most : int
        Cells on each side; of more, a seeded sample.
    seed : int
        For that sample.
    """

    def __init__(self, cells: Cells, *, at_most: int = 5_000, seed: int = 0) -> None:
        if at_most < 2:
            raise InputError(f"differential expression: at_most is {at_most}; it must be at least 2")
        self.cells = cells
        self.at_most = at_most
        self.seed = seed
        self.totals = np.maximum(cells.totals, 1.0)
        self.target = float(np.median(self.totals))

    def compare(self, active: Array, concept: int) -> Expression | None:
        """Compare the cells at positions `active` with the rest; None where a side has fewer than 2 cells."""
        rest = np.ones(self.cells.n_cells, dtype=bool)
        rest[active] = False
        sides = [np.sort(active), np.flatnonzero(rest)]
        if min(map(len, sides)) < 2:
            return None
        rng = generator(self.seed, "attribution", "expression", concept)
        chosen = [np.sort(rng.choice(s, self.at_most, replace=False)) if len(s) > self.at_most else s for s in sides]
        return self._test(np.concatenate(chosen), len(chosen[0]))

    def _test(self, rows: Array, n_active: int) -> Expression:
        counts = self.cells.counts[rows]
        logs = np.log1p(counts.data * np.repeat(self.target / self.totals[rows], np.diff(counts.indptr)))
        cut, n = counts.indptr[n_active], (n_active, len(rows) - n_active)
        sides = [
            _mean_and_error(counts.indices[part], logs[part], size, counts.shape[1])
            for part, size in zip((slice(cut), slice(cut, None)), n, strict=True)
        ]
        (active, first), (rest, second) = sides
        found = welch(active - rest, first, n[0], second, n[1])
        fold = np.log2((np.expm1(active) + 1 / min(n)) / (np.expm1(rest) + 1 / min(n)))
        q = benjamini_hochberg(found.p)
        fold, t, q = (values.astype(np.float32) for values in (fold, found.t, q))
        return Expression(fold, t, q, len(rows))


def _mean_and_error(gene: Array, value: Array, n: int, n_genes: int) -> tuple[Array, Array]:
    """Return mean, and squared standard error of the mean, of each gene in `n` cells that hold these values above 0."""
    sums, squares = (np.bincount(gene, weights=each, minlength=n_genes) for each in (value, value * value))
    mean = sums / n
    return mean, np.maximum(squares - n * mean * mean, 0) / ((n - 1) * n)


def rows(block: Block, on: str) -> pd.DataFrame:  # noqa: ARG001 (there is one)
    """Return all genes; ``effect`` is the fold change, ``score`` is t, ``n`` counts cells. A fold change has no se."""
    work, frames = block.work, []
    expressed = work.once("de", lambda: Expressed(work.cells, at_most=work.config.max_cells, seed=work.seed))
    for concept in block.concepts:
        found = expressed.compare(work.on(concept), concept)
        if found is not None:
            nothing, n = np.full(len(found.t), np.nan), np.full(len(found.t), found.n)
            frames.append(
                tables.rows_of(concept, work.genes, effect=found.fold, se=nothing, score=found.t, q=found.q, n=n)
            )
    return tables.joined(frames, tables.MEASURED)


ENTRY = Method(
    name="de",
    title=TITLES["de"],
    cost="One t-test of the cells for each concept, and no run of the model.",
    readouts=("expression",),
    rows=rows,
    ranking="expression",
    preference=9,
    scale="raw",
)

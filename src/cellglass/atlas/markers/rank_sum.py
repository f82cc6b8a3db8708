"""What marks a chosen set of cells: concepts that are more, or less, active in it than in all other cells; genes.

Concepts, for each with activations a (zero where it is silent), by the Wilcoxon rank-sum test (Mann and Whitney 1947):

    U = R - n (n + 1) / 2        R: sum of the ranks of the set's n cells among all N, ties at their mean rank
    AUC = U / (n (N - n))        the chance that a cell of the set is the more active one of two, half for a tie
    z = (|U - n (N - n) / 2| - 1/2) / s,   s^2 = n (N - n) / 12 (N + 1 - sum(t^3 - t) / (N (N - 1)))

with t the sizes of groups of equal values. Genes, by Welch's t on normalised expression (`cellglass.atlas.normalised`).
q is Benjamini and Hochberg's over all concepts, or all genes. A set that was drawn around what one sees is not chosen
blindly, so q orders what to look at and proves nothing.

Only stored numbers are touched, so time grows with them and not with cells x concepts. What does not depend on the set,
the ranks above all, is worked out once and kept, in memory or in a temporary file, so that a question is one pass over
it. Ranks are kept as float32: exact up to 8,388,608 cells, and to one part in 10 million beyond.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from cellglass.atlas import schema
from cellglass.atlas.columns import Array, Block, Columns
from cellglass.atlas.markers.spool import keep
from cellglass.atlas.normalised import cell_scales, normalised
from cellglass.atlas.read import Atlas
from cellglass.errors import DamagedError, InputError
from cellglass.evaluation.metric import finite_or_none
from cellglass.statistics import benjamini_hochberg, welch

KEPT = 1 << 23
"""Stored numbers of a matrix that are kept in memory at most: 12 bytes for each activation, 8 for each count."""
FEWEST = 3
"""Cells that a set and the rest must have at least."""


class ConceptMarks(NamedTuple):
    """Arrays over concepts, in the atlas's order."""

    auc: Array
    difference: Array
    """Mean activation in the set less that in all other cells."""
    share_in: Array
    """Share of the set's cells in which the concept is active."""
    share_out: Array
    p: Array
    q: Array


class GeneMarks(NamedTuple):
    """Arrays over genes, in the atlas's order."""

    difference: Array
    """Mean y in the set less that in all other cells; y is a natural logarithm."""
    t: Array
    share_in: Array
    share_out: Array
    p: Array
    q: Array


class Ranked(NamedTuple):
    """A block of concepts with what does not depend on the set."""

    data: Array
    rows: Array
    indptr: Array
    ranks: Array
    """Of the stored numbers, among all cells."""
    ties: Array
    """Sum of t^3 - t, of each column."""
    totals: Array
    """Sum of each column."""


class Levels(NamedTuple):
    """A block of genes with what does not depend on the set."""

    y: Array
    rows: Array
    indptr: Array
    totals: Array
    """Sum of y over all cells, of each column."""
    squares: Array
    """Sum of the squares of y."""


class Marker:
    """Finds the marks of sets of cells of one atlas; any number of threads may ask it.

    What is kept of a matrix with more than `KEPT` stored numbers lies in a temporary file, and memory holds one block.
    """

    def __init__(self, atlas: Atlas) -> None:
        self._atlas = atlas
        self._lock = {"concepts": threading.Lock(), "genes": threading.Lock()}
        self._ranked: Iterable[Ranked] | None = None
        self._levels: Iterable[Levels] | None = None

    @cached_property
    def _concepts(self) -> Columns:
        return Columns(self._atlas.path / schema.CONCEPTS)

    @cached_property
    def _genes(self) -> Columns:
        return Columns(self._atlas.path / schema.EXPRESSION, zeros=True)

    @cached_property
    def n_cells(self) -> int:
        """Number of cells of the atlas."""
        return self._concepts.shape[0]

    def prepare(self) -> None:
        """Work out what the first question would wait for, by asking one; for a thread beside the server."""
        if self.n_cells >= 2 * FEWEST:
            first = np.arange(FEWEST)
            self.concepts(first)
            self.genes(first)

    def concepts(self, cells: Array) -> ConceptMarks:
        """Return which concepts mark the cells at positions `cells`."""
        chosen = self._chosen(cells, self.n_cells)
        with self._lock["concepts"]:
            if self._ranked is None:
                self._ranked = keep(Ranked, self._rank_all, in_memory=self._concepts.n_stored <= KEPT)
            parts = [_wilcoxon(ranked, chosen) for ranked in self._ranked]
        if not parts:
            raise InputError(f"{self._atlas.path}: there are no concepts")
        auc, difference, inside, outside, p = (np.concatenate(part) for part in zip(*parts, strict=True))
        return ConceptMarks(auc, difference, inside, outside, p, benjamini_hochberg(p))

    def genes(self, cells: Array) -> GeneMarks | None:
        """Return which genes mark the cells at positions `cells`; None where the atlas has no expression."""
        if not (self._atlas.path / schema.EXPRESSION).exists():
            return None
        with self._lock["genes"]:
            if self._genes.shape[0] != self.n_cells:
                raise DamagedError(
                    f"{self._genes.place}: it has {self._genes.shape[0]:,} cells, but the concepts have "
                    f"{self.n_cells:,}; write the atlas again"
                )
            chosen = self._chosen(cells, self.n_cells)
            if self._levels is None:
                self._levels = keep(Levels, self._level_all, in_memory=self._genes.n_stored <= KEPT)
            parts = [_by_welch(levels, chosen) for levels in self._levels]
        if not parts:
            return None
        difference, t, inside, outside, p = (np.concatenate(part) for part in zip(*parts, strict=True))
        return GeneMarks(difference, t, inside, outside, p, benjamini_hochberg(p))

    def _rank_all(self) -> Iterator[Ranked]:
        return (_rank(block, self.n_cells) for block in self._concepts.blocks())

    def _level_all(self) -> Iterator[Levels]:
        scales = cell_scales(self._genes)
        for data, rows, indptr, _ in self._genes.blocks():
            y = normalised(data, scales[rows])
            yield Levels(y, rows, indptr, _column_sums(y, indptr), _column_sums(np.square(y, dtype=np.float64), indptr))

    @staticmethod
    def _chosen(cells: Array, n: int) -> Array:
        if len(cells) and (cells.min() < 0 or cells.max() >= n):
            raise InputError(f"the set names cells that are not there; positions run from 0 to {n - 1}")
        chosen = np.zeros(n, dtype=bool)
        chosen[cells] = True
        size = int(chosen.sum())
        if size < FEWEST or n - size < FEWEST:
            raise InputError(f"the set has {size:,} of {n:,} cells; choose at least {FEWEST}, and leave as many out")
        return chosen


def _rank(block: Block, n_cells: int) -> Ranked:
    """Rank a block's stored numbers, all of them above zero, among all cells; equal ones get their mean rank."""
    counts = np.diff(block.indptr)
    zeros = (n_cells - counts).astype(np.float64)
    ties = zeros**3 - zeros
    ranks = np.empty(len(block.data), dtype=np.float32)
    for column, (start, stop) in enumerate(zip(block.indptr[:-1], block.indptr[1:], strict=True)):
        order = np.argsort(block.data[start:stop])
        values = block.data[start:stop][order]
        place = np.arange(1, len(values) + 1, dtype=np.float64)
        edges = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1, [len(values)]])
        if len(values) and len(edges) <= len(values):  # fewer groups than values
            sizes = np.diff(edges)
            place = np.repeat(edges[:-1] + (sizes + 1) / 2, sizes)
            ties[column] += float((sizes.astype(np.float64) ** 3 - sizes).sum())
        ranks[start:stop][order] = zeros[column] + place
    return Ranked(*block[:3], ranks, ties, _column_sums(block.data, block.indptr))


def _wilcoxon(ranked: Ranked, chosen: Array) -> tuple[Array, ...]:
    """Return AUC, difference, shares and p of the columns of a block."""
    indptr, n_all, n = ranked.indptr, len(chosen), int(chosen.sum())
    inside, edges = _inside(ranked.rows, indptr, chosen)
    counts, active, others = np.diff(indptr), np.diff(edges), n_all - n
    rank_sum = _column_sums(ranked.ranks[inside], edges) + (n - active) * (n_all - counts + 1) / 2
    u = rank_sum - n * (n + 1) / 2
    variance = n * others / 12 * (n_all + 1 - ranked.ties / (n_all * (n_all - 1)))
    sd = np.sqrt(np.maximum(variance, 0))
    away = np.maximum(np.abs(u - n * others / 2) - 0.5, 0)
    z = np.divide(away, sd, out=np.zeros(len(u)), where=sd > 0)
    summed = _column_sums(ranked.data[inside], edges)
    difference = summed / n - (ranked.totals - summed) / others
    return u / (n * others), difference, active / n, (counts - active) / others, _two_sided(z)


def _by_welch(levels: Levels, chosen: Array) -> tuple[Array, ...]:
    """Return difference, t, shares and p of the columns of a block of genes."""
    n = int(chosen.sum())
    others, total, squares = len(chosen) - n, levels.totals, levels.squares
    inside, edges = _inside(levels.rows, levels.indptr, chosen)
    y = levels.y[inside]
    summed, squared = _column_sums(y, edges), _column_sums(np.square(y, dtype=np.float64), edges)
    difference = summed / n - (total - summed) / others
    within = np.maximum(squared - summed**2 / n, 0) / (n - 1) / n
    without = np.maximum(squares - squared - (total - summed) ** 2 / others, 0) / (others - 1) / others
    test = welch(difference, within, n, without, others)
    active = np.diff(edges)
    return difference, test.t, active / n, (np.diff(levels.indptr) - active) / others, test.p


def _inside(rows: Array, indptr: Array, chosen: Array) -> tuple[Array, Array]:
    """Return which stored numbers belong to chosen cells, and where each column begins among them."""
    inside = np.flatnonzero(chosen[rows])
    return inside, np.searchsorted(inside, indptr)


def _column_sums(values: Array, indptr: Array) -> Array:
    """Return the sum of each column; ranks are halves of whole numbers, so their sums are exact."""
    summed = np.zeros(len(values) + 1)
    np.cumsum(values, dtype=np.float64, out=summed[1:])
    sums: Array = summed[indptr[1:]] - summed[indptr[:-1]]
    return sums


def _two_sided(z: Array) -> Array:
    from scipy.special import ndtr

    p: Array = np.minimum(2 * ndtr(-z), 1.0)
    return p


def top_k(marks: ConceptMarks | GeneMarks, latents: Array | None = None, limit: int = 200) -> list[dict[str, Any]]:
    """Return the strongest marks as rows for JSON, the most telling first; at most a quarter are of what is lacking.

    Concepts, whose `latents` are given, are ordered by how far the AUC is from one half; genes, which are told by
    their position, by how far t is from 0.
    """
    strength = marks.auc - 0.5 if isinstance(marks, ConceptMarks) else marks.t
    order = np.lexsort((np.arange(len(strength)), -np.abs(strength)))
    chosen = np.concatenate(
        [order[strength[order] > 0][: limit - limit // 4], order[strength[order] < 0][: limit // 4]]
    )
    chosen = chosen[np.lexsort((chosen, -np.abs(strength[chosen])))]
    head = [("gene", chosen)] if latents is None else [("latent", latents[chosen])]
    columns = [(name, getattr(marks, name)[chosen]) for name in marks._fields]
    plain = [(name, [finite_or_none(value) for value in values]) for name, values in [*head, *columns]]
    return [dict(zip([n for n, _ in plain], row, strict=True)) for row in zip(*[v for _, v in plain], strict=True)]

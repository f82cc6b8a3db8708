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
it. Ranks are kept as float32: exact up to 8,388,608 cells, and to one part in 10 million beyond. Against another set
instead of all other cells, N is the cells of both, which are ranked among themselves. By donor: see ``donors.py``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from cellglass.atlas import schema
from cellglass.atlas.columns import Array, Block, Columns
from cellglass.atlas.markers.donors import DonorMarks, Donors, by_donor, group_sums, side_sums
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

    def concepts(self, cells: Array, others: Array | None = None) -> ConceptMarks:
        """Return which concepts mark the cells at positions `cells`, against `others` or else all other cells."""
        side = self._sides(cells, others, self.n_cells)
        parts = [_wilcoxon(*_among(ranked, side)) for ranked in self._concept_blocks()]
        if not parts:
            raise InputError(f"{self._atlas.path}: there are no concepts")
        auc, difference, inside, outside, p = (np.concatenate(part) for part in zip(*parts, strict=True))
        return ConceptMarks(auc, difference, inside, outside, p, benjamini_hochberg(p))

    def genes(self, cells: Array, others: Array | None = None) -> GeneMarks | None:
        """Return which genes mark the cells at positions `cells`; None where the atlas has no expression."""
        if not (self._atlas.path / schema.EXPRESSION).exists():
            return None
        side = self._sides(cells, others, self.n_cells)
        parts = [_by_welch(levels, side) for levels in self._gene_blocks()]
        if not parts:
            return None
        difference, t, inside, outside, p = (np.concatenate(part) for part in zip(*parts, strict=True))
        return GeneMarks(difference, t, inside, outside, p, benjamini_hochberg(p))

    def donors(self, of: str, cells: Array, others: Array | None, donor: Array) -> DonorMarks | None:
        """Return the differences of ``concepts`` or ``genes`` with donors as the unit; None where there are no genes.

        Parameters
        ----------
        donor : numpy.ndarray
            The number of each cell's donor, 0 for a cell without one.
        """
        if of == "genes" and not (self._atlas.path / schema.EXPRESSION).exists():
            return None
        donors = Donors(self._sides(cells, others, self.n_cells), donor)
        if donors.why:
            return by_donor(donors, [])
        blocks: Iterable[Ranked | Levels] = self._concept_blocks() if of == "concepts" else self._gene_blocks()
        return by_donor(donors, (group_sums(block[0], block.rows, block.indptr, donors.group) for block in blocks))

    def _concept_blocks(self) -> Iterator[Ranked]:
        with self._lock["concepts"]:
            if self._ranked is None:
                self._ranked = keep(Ranked, self._rank_all, in_memory=self._concepts.n_stored <= KEPT)
            yield from self._ranked

    def _gene_blocks(self) -> Iterator[Levels]:
        with self._lock["genes"]:
            if self._genes.shape[0] != self.n_cells:
                raise DamagedError(
                    f"{self._genes.place}: it has {self._genes.shape[0]:,} cells, but the concepts have "
                    f"{self.n_cells:,}; write the atlas again"
                )
            if self._levels is None:
                self._levels = keep(Levels, self._level_all, in_memory=self._genes.n_stored <= KEPT)
            yield from self._levels

    def _rank_all(self) -> Iterator[Ranked]:
        return (_rank(block, self.n_cells) for block in self._concepts.blocks())

    def _level_all(self) -> Iterator[Levels]:
        scales = cell_scales(self._genes)
        for data, rows, indptr, _ in self._genes.blocks():
            yield Levels(normalised(data, scales[rows]), rows, indptr)

    @staticmethod
    def _sides(cells: Array, others: Array | None, n: int) -> Array:
        """Return 1 for each cell of the set, 2 for each that it is held against and 0 for any other, uint8."""
        for some in (cells, np.zeros(0, np.int64) if others is None else others):
            if len(some) and (some.min() < 0 or some.max() >= n):
                raise InputError(f"the set names cells that are not there; positions run from 0 to {n - 1}")
        side = np.full(n, 2 if others is None else 0, dtype=np.uint8)
        if others is not None:
            side[others] = 2
        both = side[cells] == 2 if others is not None else np.zeros(len(cells), dtype=bool)
        side[cells] = np.where(both, 0, 1)  # what is in both sets is of neither side
        size, rest = int((side == 1).sum()), int((side == 2).sum())
        if size < FEWEST or rest < FEWEST:
            raise InputError(
                f"the set has {size:,} of {n:,} cells; choose at least {FEWEST}, and leave as many out"
                if others is None
                else f"the set has {size:,} cells and the other {rest:,} that are not in both; each needs {FEWEST}"
            )
        return side


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


def _among(ranked: Ranked, side: Array) -> tuple[Ranked, Array]:
    """Return a block as it is among the cells of both sides alone, and which of these are of the first."""
    within = side > 0
    if within.all():
        return ranked, side == 1
    place = np.cumsum(within, dtype=np.int32) - 1  # of each cell, among those
    inside, edges = _inside(ranked.rows, ranked.indptr, within)
    block = Block(ranked.data[inside], place[ranked.rows[inside]], edges, 0)
    return _rank(block, int(within.sum())), side[within] == 1


def _by_welch(levels: Levels, side: Array) -> tuple[Array, ...]:
    """Return difference, t, shares and p of the columns of a block of genes."""
    n, others = int((side == 1).sum()), int((side == 2).sum())
    sums, squares, counts = side_sums(levels.y, levels.rows, levels.indptr, side)
    means = sums[:, 1] / n, sums[:, 2] / others
    difference = means[0] - means[1]
    within = np.maximum(squares[:, 1] - sums[:, 1] ** 2 / n, 0) / (n - 1) / n
    without = np.maximum(squares[:, 2] - sums[:, 2] ** 2 / others, 0) / (others - 1) / others
    test = welch(difference, within, n, without, others)
    return difference, test.t, counts[:, 1] / n, counts[:, 2] / others, test.p


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


def top_k(
    marks: ConceptMarks | GeneMarks, latents: Array | None = None, limit: int = 200, by: DonorMarks | None = None
) -> list[dict[str, Any]]:
    """Return the strongest marks as rows for JSON, the most telling first; at most a quarter are of what is lacking.

    Concepts, whose `latents` are given, are ordered by how far the AUC is from one half; genes, which are told by
    their position, by how far t is from 0. With `by`, rows also have ``donor_difference``, ``donor_t``, ``donor_p`` and
    ``donor_q``, and the order is that of donors, by how far their t is from 0.
    """
    strength = marks.auc - 0.5 if isinstance(marks, ConceptMarks) else marks.t
    tested = by if by is not None and not by.why else None
    strength = strength if tested is None else tested.t
    order = np.lexsort((np.arange(len(strength)), -np.abs(strength)))
    chosen = np.concatenate(
        [order[strength[order] > 0][: limit - limit // 4], order[strength[order] < 0][: limit // 4]]
    )
    chosen = chosen[np.lexsort((chosen, -np.abs(strength[chosen])))]
    columns = [("gene", chosen)] if latents is None else [("latent", latents[chosen])]
    columns += [(name, getattr(marks, name)[chosen]) for name in marks._fields]
    if tested is not None:
        columns += [(f"donor_{name}", getattr(tested, name)[chosen]) for name in ("difference", "t", "p", "q")]
    plain = [(name, [finite_or_none(value) for value in values]) for name, values in columns]
    return [dict(zip([n for n, _ in plain], row, strict=True)) for row in zip(*[v for _, v in plain], strict=True)]

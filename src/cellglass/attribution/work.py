"""What methods are given: what is attributed, and how, and a block of concepts with their pairs of cells.

Imports no torch, so that a method's entry can be read without it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from cellglass.attribution.config import AttributionConfig
from cellglass.attribution.method import Method
from cellglass.attribution.registry import METHODS

if TYPE_CHECKING:
    import scipy.sparse as sp

    from cellglass.attribution.edits import Changed
    from cellglass.attribution.neighbours import Activations, Pool
    from cellglass.cells.cells import Cells
    from cellglass.dictionaries.base import Dictionary
    from cellglass.models.base import CellModel

Array = np.ndarray[Any, Any]
T = TypeVar("T")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Subject:
    """A model, cells, and the dictionary that reads them.

    Attributes
    ----------
    model : CellModel
    cells : Cells
        Aligned to the model.
    site : str
        Where the dictionary reads.
    dictionary : Dictionary
        Its latents are the concepts.
    """

    model: CellModel
    cells: Cells
    site: str
    dictionary: Dictionary


class Plan(NamedTuple):
    """The methods that are run, in order, and what could not be done and why, one line each."""

    methods: tuple[Method, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Work(Subject):
    """A subject, and how it is attributed: everything that does not change from block to block.

    Attributes
    ----------
    codes : csc_matrix, shape (n_cells, n_latents)
        The dictionary's activations of the cells, >= 0.
    activations : array, tensor or store, shape (n_cells, width)
        The model's activations at the site: the space in which partners are looked for.
    config : AttributionConfig
    seed : int
    thresholds : float array, shape (n_latents,), optional
        The activation from which on each concept is on, such as the one that marks a label best; where it is NaN, or
        nothing is given, `much`.
    """

    codes: sp.csc_matrix
    activations: Activations
    config: AttributionConfig = field(default_factory=AttributionConfig)
    seed: int = 0
    thresholds: Array | None = None
    _kept: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def once(self, name: str, make: Callable[[], T]) -> T:
        """Return what `make` gave when `name` was first asked for: what a method keeps from block to block."""
        if name not in self._kept:
            self._kept[name] = make()
        kept: T = self._kept[name]
        return kept

    @cached_property
    def plan(self) -> Plan:
        """The methods asked for that the model can do, and notes of the others.

        Those on changed counts come first, since they share their runs; else the order is the registry's.
        """
        asked = [METHODS[name] for name in METHODS if name in self.config.methods]
        asked.sort(key=lambda method: not method.counterfactual)
        found = [(method, method.impossible(self.model, self.cells, self.site)) for method in asked]
        notes = tuple(dict.fromkeys(note for _, note in found if note is not None))
        for note in notes:
            _log.warning("attribution: %s", note)
        return Plan(tuple(method for method, note in found if note is None), notes)

    @cached_property
    def pool(self) -> Pool:
        """The cells among which partners are looked for."""
        from cellglass.attribution.neighbours import Pool

        most = self.config.max_candidates
        return Pool.read(self.activations, self.site, self.cells.n_cells, at_most=most, seed=self.seed)

    @cached_property
    def groups(self) -> Array:
        """A number for each cell, int64 (n_cells,); those with equal numbers are equal in the columns of `match`."""
        columns = self.config.match
        if not columns:
            return np.zeros(self.cells.n_cells, dtype=np.int64)
        frame = pd.DataFrame({str(i): self.cells.column(name).to_numpy() for i, name in enumerate(columns)})
        return (
            frame.groupby(list(frame.columns), dropna=False, observed=True, sort=False)
            .ngroup()
            .to_numpy(dtype=np.int64)
        )

    @cached_property
    def depth(self) -> Array:
        """The total count of each cell of the pool, float64 (n,)."""
        return np.asarray(self.cells.counts[self.pool.rows].sum(axis=1), dtype=np.float64).ravel()

    @property
    def genes(self) -> Array:
        """Ids of the genes."""
        return self.cells.genes.index.to_numpy(dtype=object)

    def active(self, concept: int) -> tuple[Array, Array]:
        """Return the positions of the cells that activate `concept`, ascending, and how strongly."""
        column = slice(self.codes.indptr[concept], self.codes.indptr[concept + 1])
        cell, value = self.codes.indices[column].astype(np.int64), self.codes.data[column]
        return cell[value > 0], value[value > 0]

    def strong(self, concept: int) -> Array:
        """Return the positions of the cells that hold much of `concept`, ascending; see `much`."""
        cell, value = self.active(concept)
        return cell[value >= much(value)]

    def on(self, concept: int) -> Array:
        """Return the positions of the cells in which `concept` is on, ascending: at or above its threshold."""
        cell, value = self.active(concept)
        if self.thresholds is None or np.isnan(self.thresholds[concept]):
            return self.strong(concept)
        return np.asarray(cell[value >= self.thresholds[concept]])

    def change(self, pairs: pd.DataFrame) -> Array:
        """Return by how much prototypes exceed partners in log1p counts, mean over `pairs`, for each gene."""
        prototype, partner = columns(pairs, "prototype", "partner")
        if not len(prototype):
            return np.zeros(self.cells.n_genes)
        counts = self.cells.counts
        return np.asarray((counts[prototype].log1p() - counts[partner].log1p()).mean(axis=0)).ravel()


@dataclass
class Block:
    """A few concepts with their pairs of cells: what a method is given.

    Attributes
    ----------
    work : Work
    concepts : sequence of int
        Latents; one that few cells activate has no pairs.
    pairs : pandas.DataFrame
        See `Pairs.table`, and ``difference`` and ``gap`` (float32), which the path fills in. The prototypes are those
        that the model reads above 0.
    gaps : list of pandas.DataFrame
        Completeness of path effects, noted by the path.
    """

    work: Work
    concepts: Sequence[int]
    pairs: pd.DataFrame
    gaps: list[pd.DataFrame] = field(default_factory=list)

    def each(self) -> Iterator[tuple[int, pd.DataFrame]]:
        """Yield each concept that has pairs, with its rows of `pairs`."""
        for concept, mine in self.pairs.groupby("concept"):
            yield int(str(concept)), mine

    @cached_property
    def changed(self) -> dict[str, Changed]:
        """The effects of changed counts, for each method that asks for edits: they share their runs of the model."""
        from cellglass.attribution.effects import run_edits

        return run_edits(self)


def much(values: Array) -> float:
    """Return half of the 99th percentile of the activations above 0: less is a trace. Infinity where there are none."""
    above = values[values > 0]
    return float(np.quantile(above, 0.99)) / 2 if len(above) else float("inf")


def columns(frame: pd.DataFrame, *names: str) -> list[Array]:
    """Return columns of positions or latents as int64 arrays."""
    return [frame[name].to_numpy(dtype=np.int64) for name in names]

"""The counterfactual methods for the pairs of a few concepts: edits, effects, statistics, rows. Chooses no pairs.

Swaps and knock-outs of a block share their runs of the model, which bounds its size: memory is a few hundred bytes a
swap.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cellglass.attribution import path, statistics, swaps, tables
from cellglass.cells.cells import Cells
from cellglass.dictionaries.base import Dictionary
from cellglass.models.base import CellModel

Array = np.ndarray[Any, Any]
_log = logging.getLogger(__name__)

READOUTS = ("activation", "preactivation")
GAP_COLUMNS: dict[str, Any] = {
    "concept": np.int32, "on": object, "kind": object, "n": np.int32, "median": np.float32, "max": np.float32,
}  # fmt: skip


@dataclass
class Part:
    """What a block of concepts gave."""

    genes: list[pd.DataFrame]
    pairs: pd.DataFrame
    concepts: pd.DataFrame
    gaps: list[pd.DataFrame]


@dataclass(frozen=True)
class Work:
    """Everything that does not change from block to block."""

    model: CellModel
    cells: Cells
    site: str
    dictionary: Dictionary
    on: tuple[str, ...]
    path_on: tuple[str, ...]
    steps: int
    match_depth: bool
    methods: tuple[str, ...]
    most_genes: int | None = None

    def block(self, pairs: pd.DataFrame, concepts: pd.DataFrame) -> Part:
        """Run the counterfactual methods for the pairs of a block of concepts."""
        part = Part([], pairs, concepts, [])
        if set(self.methods) & {"swap", "knockout", "path"}:
            part.pairs, part.concepts = self._readable(pairs, concepts)
            self._swaps(part)
        part.pairs = part.pairs.assign(difference=np.float32(np.nan), gap=np.float32(np.nan))
        if "path" in self.methods:
            for i, on in enumerate(self.path_on):
                self._paths(part, on, keep=i == 0)
        return part

    def _readable(self, pairs: pd.DataFrame, concepts: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
        """Leave out prototypes that the model, run again, does not read above 0 (stored codes are rounded)."""
        if pairs.empty:
            return pairs, concepts
        cell, concept = pairs["prototype"].to_numpy(), pairs["concept"].to_numpy().astype(np.int64)
        on = self.on if {"swap", "knockout"} & set(self.methods) else ()
        needed = (*on, "preactivation") if "path" in self.methods and "preactivation" not in on else on
        read = swaps.readouts(self.model, self.cells, self.site, self.dictionary, cell, concept, needed)
        positive = np.logical_and.reduce([values > 0 for values in read.values()])
        lost = pairs[~positive].groupby("concept")["prototype"].nunique()
        if len(lost):
            concepts = concepts.copy()
            for number, n in lost.items():
                text = f"{n} prototypes left out: the model, run again, reads them at 0"
                row = concepts["concept"] == number
                concepts.loc[row, "note"] = (
                    concepts.loc[row, "note"].where(lambda s: s == "", lambda s: s + "; ") + text
                )
                _log.info("concept %s: %s", number, text)
        return pairs.loc[np.flatnonzero(positive)].reset_index(drop=True), concepts

    def _swaps(self, part: Part) -> None:
        """Run swaps and knock-outs together: many swaps set a count to 0, which is a knock-out."""
        pairs, counts = part.pairs, self.cells.counts
        alone = pairs.drop_duplicates(["concept", "prototype"])
        edits = []
        if "swap" in self.methods:
            edits.append(swaps.swap_edits(counts, *_columns(pairs, "prototype", "partner", "concept")))
        if "knockout" in self.methods:
            edits.append(swaps.knockout_edits(counts, *_columns(alone, "prototype", "concept")))
        if not edits:
            return
        if self.most_genes is not None:
            chosen = self._candidates(pairs)
            edits = [swaps.Edits(*(column[_among(chosen, one)] for column in one)) for one in edits]
        together = swaps.Edits(*(np.concatenate(columns) for columns in zip(*edits, strict=True)))
        found = swaps.effects(self.model, self.cells, self.site, self.dictionary, together, self.on)
        done = 0
        for method, mine in zip([m for m in ("swap", "knockout") if m in self.methods], edits, strict=True):
            rows = pairs if method == "swap" else alone
            for on, values in found.items():
                part.genes += self._sparse(method, on, rows, mine, values[done : done + len(mine.row)])
            done += len(mine.row)

    def _candidates(self, pairs: pd.DataFrame) -> dict[int, Array]:
        """Return, by concept, the genes that are tried: those whose log1p counts differ most, mean over real pairs."""
        assert self.most_genes is not None  # noqa: S101
        chosen = {}
        for number, mine in pairs[pairs["kind"] == "real"].groupby("concept"):
            size = np.abs(self._change(mine))
            order = np.argsort(-size, kind="stable")[: self.most_genes]
            chosen[int(str(number))] = np.sort(order[size[order] > 0])
        return chosen

    def _sparse(
        self, method: str, on: str, rows: pd.DataFrame, edits: swaps.Edits, values: Array
    ) -> list[pd.DataFrame]:
        """Make the effects of one concept at a time dense (a few hundred rows) and take their statistics."""
        out = []
        concept, cell = _columns(rows, "concept", "prototype")
        for number in np.unique(concept):
            first, stop = np.searchsorted(concept, [number, number + 1])
            begin, end = np.searchsorted(edits.row, [first, stop])
            row, gene = edits.row[begin:end] - first, edits.gene[begin:end]
            effects = np.zeros((stop - first, self.cells.n_genes), dtype=np.float32)
            effects[row, gene] = values[begin:end]
            if method == "swap":
                null = (rows["kind"].iloc[first:stop] == "null").to_numpy()
                n = np.bincount(gene[~null[row]], minlength=self.cells.n_genes)
                found = statistics.paired(effects, cell[first:stop], null, n > 0)
                change = self._change(rows.iloc[first:stop][~null])
            else:
                n = np.bincount(gene, minlength=self.cells.n_genes)
                counts = self.cells.counts[cell[first:stop]].toarray()
                found = statistics.knocked_out(effects, np.where(n > 0, counts, 0), n > 0)
                change = np.ones(self.cells.n_genes)
            out.append(tables.statistics_rows(method, on, int(number), self._genes, found, n, change))
        return out

    def _change(self, pairs: pd.DataFrame) -> Array:
        """Return by how much prototypes exceed their partners in log1p counts, mean over pairs, for each gene."""
        prototype, partner = _columns(pairs, "prototype", "partner")
        if not len(prototype):
            return np.zeros(self.cells.n_genes)
        return np.asarray(
            (self.cells.counts[prototype].log1p() - self.cells.counts[partner].log1p()).mean(axis=0)
        ).ravel()

    def _paths(self, part: Part, on: str, *, keep: bool) -> None:
        """Run the path effects of one concept at a time."""
        concept, prototype, partner = _columns(part.pairs, "concept", "prototype", "partner")
        null = (part.pairs["kind"] == "null").to_numpy()
        for number in np.unique(concept):
            mine = np.flatnonzero(concept == number)
            found = path.path_effects(
                self.model, self.cells, self.site, self.dictionary, prototype[mine], partner[mine], concept[mine],
                on=on, steps=self.steps, match_depth=self.match_depth,
            )  # fmt: skip
            change = found.change[~null[mine]]
            n = np.count_nonzero(change, axis=0)
            result = statistics.paired(found.effects, prototype[mine], null[mine], n > 0)
            part.genes.append(
                tables.statistics_rows("path", on, int(number), self._genes, result, n, change.mean(axis=0))
            )
            part.gaps += _gaps(int(number), on, null[mine], found.gap)
            if keep:
                part.pairs.loc[mine, "difference"] = found.difference / found.readout
                part.pairs.loc[mine, "gap"] = found.gap

    @property
    def _genes(self) -> Array:
        return self.cells.genes.index.to_numpy(dtype=object)


def _among(chosen: dict[int, Array], edits: swaps.Edits) -> Array:
    """Say which edits change a gene that is chosen for their concept."""
    kept = np.zeros(len(edits.row), dtype=bool)
    for concept, genes in chosen.items():
        mine = edits.concept == concept
        kept[mine] = np.isin(edits.gene[mine], genes)
    return kept


def _columns(frame: pd.DataFrame, *names: str) -> list[Array]:
    return [frame[name].to_numpy(dtype=np.int64) for name in names]


def _gaps(concept: int, on: str, null: Array, gap: Array) -> list[pd.DataFrame]:
    rows = []
    for kind, mine in (("real", gap[~null]), ("null", gap[null])):
        known = mine[~np.isnan(mine)]
        if len(known):
            rows.append([concept, on, kind, len(known), np.median(known), known.max()])
    return [pd.DataFrame(rows, columns=list(GAP_COLUMNS)).astype(GAP_COLUMNS)] if rows else []

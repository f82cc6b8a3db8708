"""What a counterfactual changes: the genes whose counts differ between a prototype and its first partners.

Counts lie on disk by gene, so the counts of single cells are gathered in one pass for all concepts together, and kept:
as many prototypes of each concept as fit into `MAX_ENTRIES` counts.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cellglass.atlas.normalised import normalised
from cellglass.explorer.data.cached import cached
from cellglass.explorer.data.json import dumps, short
from cellglass.explorer.data.source import Source

Array = np.ndarray[Any, Any]

PROTOTYPES, PARTNERS = 12, 2
"""Prototypes of a concept, and partners of each, whose genes are shown at most."""
TOP = 30
MAX_ENTRIES = 8_000_000
"""Counts that are held at most, 8 bytes each."""


class Counterfactual:
    """Genes that differ between prototypes and partners."""

    def __init__(self, source: Source):
        self.source = source

    @cached
    def shown(self) -> dict[int, list[tuple[int, list[int]]]]:
        """Return by latent number the first prototypes of each concept that has pairs, with their first partners."""
        table = self.source.pairs
        found: dict[int, dict[int, list[int]]] = {}
        if self.source.expression is not None:
            real = table[(table["kind"].astype(object) == "real") & table["concept"].isin(self.source.position)]
            for latent, prototype, partner in real[["concept", "prototype", "partner"]].to_numpy().tolist():
                partners = found.setdefault(latent, {}).setdefault(prototype, [])
                if len(partners) < PARTNERS:
                    partners.append(partner)
        return self._fitting({latent: list(pairs.items()) for latent, pairs in sorted(found.items())})

    def _fitting(self, found: dict[int, list[tuple[int, list[int]]]]) -> dict[int, list[tuple[int, list[int]]]]:
        """Return as many first prototypes of every concept, at least one, as fit into memory."""
        counts = self.source.expression
        per_cell = 0.0 if counts is None else counts.n_stored / max(self.source.n_cells, 1)
        for most in range(PROTOTYPES, 0, -1):
            kept = {latent: pairs[:most] for latent, pairs in found.items()}
            if most == 1 or len(_cells(kept)) * per_cell <= MAX_ENTRIES:
                return kept
        return found

    @cached
    def _counts(self) -> tuple[Array, Any]:
        """Return the cells that are shown, ascending, and their counts (CSR)."""
        import scipy.sparse as sp

        cells, counts = _cells(self.shown), self.source.expression
        place = np.full(self.source.n_cells, -1, dtype=np.int32)
        place[cells] = np.arange(len(cells))
        parts = [(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32))]
        if counts is not None:
            for block in counts.blocks():
                cell = place[block.rows]
                inside = np.flatnonzero(cell >= 0)
                parts.append((block.columns[inside].astype(np.int32), cell[inside], block.data[inside]))
        genes, rows, values = map(np.concatenate, zip(*parts, strict=True))
        shape = (len(cells), 0 if counts is None else len(counts))
        return cells, sp.coo_matrix((values, (rows, genes)), shape).tocsr()

    def file(self, latent: int) -> bytes:
        """Return the pairs of a concept.

        A list with one entry for each of its first prototypes: ``prototype``; ``partners``, each with ``partner``,
        ``differ``, the number of genes whose counts differ, and ``genes``, rows [gene, count in the prototype, in the
        partner, difference of normalised expression] of those whose normalised expression differs most.
        """
        return dumps(
            [
                {"prototype": prototype, "partners": [self._pair(prototype, partner) for partner in partners]}
                for prototype, partners in self.shown[latent]
            ]
        )

    def _pair(self, prototype: int, partner: int) -> dict[str, Any]:
        cells, counts = self._counts
        one, other = (counts[place].toarray()[0] for place in np.searchsorted(cells, [prototype, partner]))
        genes = np.flatnonzero(one != other)
        scale = self.source.scales
        gap = normalised(one[genes], scale[prototype]) - normalised(other[genes], scale[partner])
        first = np.argsort(-np.abs(gap), kind="stable")[:TOP]
        rows = [
            [int(gene), short(one[gene]), short(other[gene]), short(away)]
            for gene, away in zip(genes[first], gap[first], strict=True)
        ]
        return {"partner": partner, "differ": len(genes), "genes": rows}


def _cells(shown: dict[int, list[tuple[int, list[int]]]]) -> Array:
    """Return the positions of all cells that are shown, ascending."""
    found = {cell for pairs in shown.values() for prototype, partners in pairs for cell in (prototype, *partners)}
    return np.array(sorted(found), dtype=np.int64)

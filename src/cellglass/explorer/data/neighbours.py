"""Which concepts lie near one another: by the cosine of their decoder directions, and by being active together.

The first needs the dictionary, and is empty without it. The second is a correlation over cells, and of a large atlas
over a sample of cells, drawn once with the atlas's seed; whatever does not stand in the atlas is not looked for.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cellglass.atlas import schema
from cellglass.atlas.evidence import residual
from cellglass.atlas.reading import reading
from cellglass.errors import InputError
from cellglass.explorer.data.cached import cached
from cellglass.explorer.data.json import short
from cellglass.explorer.data.source import Source
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

NEIGHBOURS = 10
"""Concepts beside a latent at most, and as many residual latents."""
MAX_CELLS = 20_000
"""Cells over which co-activation is measured at most."""
MAX_ENTRIES = 4_000_000
"""Activations of these cells at most: fewer cells are drawn where each has many."""


class Neighbours:
    """The nearest and the co-active concepts of each concept."""

    def __init__(self, source: Source):
        self.source = source

    @property
    def n_cells(self) -> int:
        """The number of cells over which co-activation is measured."""
        n, entries = self.source.n_cells, self.source.activations.n_stored
        return min(n, MAX_CELLS, max(1, int(MAX_ENTRIES * n / max(entries, 1))))

    @cached
    def sample(self) -> Array:
        """Return the positions of these cells, ascending."""
        n = self.source.n_cells
        if self.n_cells == n:
            return np.arange(n)
        rng = generator(self.source.seed, "explorer", "coactive")
        return np.sort(rng.choice(n, size=self.n_cells, replace=False))

    @cached
    def _codes(self) -> tuple[Any, Any]:
        """Return the activations in the sample, by cell (CSR) and by concept (CSC)."""
        import scipy.sparse as sp

        place = np.full(self.source.n_cells, -1, dtype=np.int32)
        place[self.sample] = np.arange(len(self.sample))
        parts = []
        for block in self.source.activations.blocks():
            cell = place[block.rows]
            inside = cell >= 0
            parts.append((block.columns[inside].astype(np.int32), cell[inside], block.data[inside]))
        columns, rows, values = (
            np.concatenate([*part, np.zeros(0)]) for part in (*zip(*parts, strict=True),) or [()] * 3
        )
        shape = (len(self.sample), len(self.source.var))
        codes = sp.coo_matrix((values.astype(np.float32), (rows.astype(np.int32), columns.astype(np.int32))), shape)
        return codes.tocsr(), codes.tocsc()

    @property
    def by_cell(self) -> Any:
        """The activations in the sample, CSR of cells x concepts."""
        return self._codes[0]

    @cached
    def moments(self) -> tuple[Array, Array]:
        """Mean and standard deviation of each concept in the sample, float64."""
        codes, n = self._codes[1], max(len(self.sample), 1)
        column = np.repeat(np.arange(codes.shape[1]), np.diff(codes.indptr))
        data = codes.data.astype(np.float64)
        mean = np.bincount(column, data, minlength=codes.shape[1]) / n
        square = np.bincount(column, data**2, minlength=codes.shape[1]) / n
        return mean, np.sqrt(np.maximum(square - mean**2, 0.0))

    def correlations(self, position: int) -> Array:
        """Return the correlation of a concept with each concept over the sample, float64; NaN where one is constant."""
        by_cell, by_concept = self._codes
        mean, spread = self.moments
        part = slice(by_concept.indptr[position], by_concept.indptr[position + 1])
        rows = by_cell[by_concept.indices[part]]
        own = np.repeat(by_concept.data[part].astype(np.float64), np.diff(rows.indptr))
        together = np.bincount(rows.indices, rows.data * own, minlength=len(mean)) / max(len(self.sample), 1)
        scale = spread * spread[position]
        found = np.full(len(mean), np.nan)
        np.divide(together - mean * mean[position], scale, out=found, where=scale > 0)
        return found

    @cached
    def _directions(self) -> Array | None:
        """Return the decoder direction of each concept, of length 1; None where the atlas has no dictionary."""
        folder = self.source.atlas.path / schema.DICTIONARIES / "concepts"
        if not folder.is_dir():
            return None
        rows = reading(folder, lambda: _decoder(folder))
        if rows is None:
            rows = self.source.atlas.dictionary().directions.numpy()
        latents = self.source.latents
        if len(latents) and latents.max() >= len(rows):
            raise InputError(f"{folder}: it has {len(rows)} latents, but the atlas has concept {latents.max()}")
        rows = rows[latents].astype(np.float32, copy=False)
        length = np.linalg.norm(rows, axis=1, keepdims=True)
        unit: Array = rows / np.where(length > 0, length, 1)
        return unit

    def nearest(self, position: int) -> list[list[Any]]:
        """Return [latent, cosine] of the live latents whose decoder directions are nearest; see `_first`."""
        rows = self._directions
        return [] if rows is None else self._first(rows @ rows[position], position, -2.0)

    def coactive(self, position: int) -> list[list[Any]]:
        """Return [latent, correlation] of the latents that are most active together with it, none below 0."""
        return self._first(self.correlations(position), position, 0.0)

    def _first(self, values: Array, position: int, above: float) -> list[list[Any]]:
        """Return the first concepts by their values, and after them the first residual latents."""
        allowed = (self.source.activations.sizes > 0) & (values > above)
        allowed[position] = False
        rest = residual(self.source.var)
        kinds = (np.flatnonzero(allowed & one) for one in (~rest, rest))
        chosen = np.concatenate([places[np.argsort(-values[places], kind="stable")[:NEIGHBOURS]] for places in kinds])
        return [[int(self.source.latents[place]), short(values[place])] for place in chosen]


def _decoder(folder: Any) -> Array | None:
    """Return the decoder rows of a dictionary up to a factor, without torch; None for a kind that needs it."""
    from safetensors import safe_open

    with safe_open(str(folder / "weights.safetensors"), framework="np") as file:
        names = set(file.keys())
        if "synthesis" in names:
            half: Array = file.get_tensor("synthesis")
            return np.concatenate([half, -half])
        for name in ("decoder", "parts"):
            if name in names:
                rows: Array = file.get_tensor(name)
                return rows
    return None

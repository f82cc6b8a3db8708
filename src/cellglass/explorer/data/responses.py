"""How strongly the latents of a baseline, such as the neurons, answer in the cells of an atlas.

They are read from the activations that the pipeline left in the atlas's ``work/``, block by block; where those are
gone, nothing can be said. It writes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from cellglass.atlas import schema
from cellglass.errors import DamagedError
from cellglass.explorer.data.cached import cached
from cellglass.explorer.data.source import Source

Array = np.ndarray[Any, Any]

BATCH = 8192
"""Rows that are read at once."""


class Responses:
    """How strongly the latents of a baseline answer in the cells of an atlas.

    Parameters
    ----------
    source : Source
    name : str
        The baseline: a folder of ``dictionaries/``.
    """

    def __init__(self, source: Source, name: str):
        self.source, self.name = source, name

    @property
    def there(self) -> bool:
        """Whether the atlas holds what it needs."""
        path = self.source.atlas.path
        return (path / schema.DICTIONARIES / self.name).is_dir() and (path / schema.ACTIVATIONS).is_dir()

    @cached
    def dictionary(self) -> Any:
        """Return the baseline."""
        return self.source.atlas.dictionary(self.name)

    @cached
    def _rows(self) -> Any:
        """Return the rows of the site; their cells never decrease."""
        from cellglass.activations import open_store

        place = self.source.atlas.path / schema.ACTIVATIONS
        if not self.there:
            raise DamagedError(f"{place}: it is gone; run the command that made the atlas again, which makes it anew")
        store = open_store(place)
        rows = store.rows(next(iter(store.sites)))
        if store.n_cells != self.source.n_cells or rows.width != self.dictionary.d_in:
            raise DamagedError(f"{place}: it is not of the cells of this atlas")
        return rows

    def blocks(self, latents: Array | None = None, among: Array | None = None) -> Iterator[tuple[Array, Array]]:
        """Yield cells, ascending, and the answers in them, float32 (n, latents): at a token site the largest of a cell.

        Parameters
        ----------
        latents
            Which ones; None means all.
        among
            Which cells; None means all.
        """
        last: tuple[Array, Array] | None = None  # a cell whose rows may go on in the next block
        for start in range(0, self._rows.n_rows, BATCH):
            chosen = np.arange(start, min(start + BATCH, self._rows.n_rows))
            own = self._rows.cells(chosen)
            if among is not None:
                inside = np.isin(own, among)
                own, chosen = own[inside], chosen[inside]
            if not len(own):
                continue
            begins = np.flatnonzero(np.r_[True, own[1:] != own[:-1]])
            cells, answers = own[begins], np.maximum.reduceat(self._answers(chosen, latents), begins, axis=0)
            if last is not None and last[0][0] == cells[0]:
                answers[0] = np.maximum(answers[0], last[1][0])
            elif last is not None:
                yield last
            if len(cells) > 1:
                yield cells[:-1], answers[:-1]
            last = cells[-1:], answers[-1:]
        if last is not None:
            yield last

    def _answers(self, rows: Array, latents: Array | None) -> Array:
        import torch

        with torch.no_grad():
            answers = self.dictionary.preactivations(self._rows.read(rows))
            found: Array = answers.numpy() if latents is None else answers[:, torch.from_numpy(latents)].numpy()
        return found

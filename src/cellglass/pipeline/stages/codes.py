"""The stage that encodes all cells, some thousands a unit; what is kept is a few numbers a cell.

At a site with one row for each gene of a cell, a cell has of a concept the largest activation among its genes; beside
it the means over its genes are kept, and of each gene sums over its tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from cellglass.files import atomic_path
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.stages.tokens import encode_tokens
from cellglass.pipeline.workspace import (
    CODES,
    TOKEN_IDENTITY,
    TOKEN_MEANS,
    TOKEN_SUMS,
    TOKENS,
    load_sparse,
    of_tokens,
    open_activations,
    open_concepts,
    open_explained,
    open_model,
    save_array,
    save_sparse,
)
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.activations.store import Store
    from cellglass.cells import Cells
    from cellglass.dictionaries.base import Dictionary
    from cellglass.models.base import CellModel

CELLS_A_UNIT, TOKEN_CELLS_A_UNIT = 1 << 16, 1 << 12
_BATCH = 8192
_CODES, _MEANS, _SUMS = "codes.npz", "means.npz", "sums.npz"


class CodesStage(Stage):
    """Encodes all cells."""

    name = "codes"
    does = "encode the cells"
    outputs = (CODES,)
    needs = ("model", "activations", "dictionaries")
    optional = (TOKENS,)

    @cached_property
    def opened(self) -> tuple[Store, str, Dictionary]:
        """The activations, the site, and the dictionary."""
        return *open_activations(self.run), open_concepts(self.run)

    @cached_property
    def read(self) -> tuple[CellModel, Cells]:
        """The model and the cells, which tokens are read from anew."""
        return open_model(self.run), open_explained(self.run)

    def units(self) -> Sequence[str]:
        """Return the first cell of each unit."""
        store, site, _ = self.opened
        step = TOKEN_CELLS_A_UNIT if of_tokens(store, site) else CELLS_A_UNIT
        return [f"{start:09d}" for start in range(0, store.n_cells, step)]

    def do(self, name: str, folder: Path) -> None:
        """Encode the cells of a unit."""
        store, site, dictionary = self.opened
        with threads(1):
            if not of_tokens(store, site):
                stop = min(int(name) + CELLS_A_UNIT, store.n_cells)
                save_sparse(folder / _CODES, _encoded(store, site, dictionary, int(name), stop))
                return
            model, cells = self.read
            some = range(int(name), min(int(name) + TOKEN_CELLS_A_UNIT, cells.n_cells))
            found = encode_tokens(model, cells, site, dictionary, some, self.run.progress)
        save_sparse(folder / _CODES, found.largest)
        save_sparse(folder / _MEANS, found.means)
        found.sums.save(folder / _SUMS)

    def join(self, made: Mapping[str, Path]) -> None:
        """Put the cells of all units below each other; add their sums up."""
        with atomic_path(self.run.path(CODES)) as temporary:
            save_sparse(temporary, _stacked(made, _CODES))
        if of_tokens(*self.opened[:2]):
            self._join_tokens(made)

    def _join_tokens(self, made: Mapping[str, Path]) -> None:
        from cellglass.evaluation.tokens import GeneSums

        first, *others = (folder / _SUMS for folder in made.values())
        sums = GeneSums.load(first)
        for other in others:
            sums.merge(GeneSums.load(other))
        with atomic_path(self.run.path(TOKENS)) as temporary:
            temporary.mkdir()
            sums.table().to_parquet(temporary / TOKEN_SUMS, index=False)
            save_sparse(temporary / TOKEN_MEANS, _stacked(made, _MEANS))
            save_array(temporary / TOKEN_IDENTITY, sums.identity())


def _stacked(made: Mapping[str, Path], name: str) -> sp.csc_matrix:
    return sp.vstack([load_sparse(folder / name) for folder in made.values()], format="csc", dtype=np.float32)


def _encoded(store: Store, site: str, dictionary: Dictionary, first: int, last: int) -> Any:
    """Return the codes of the cells from `first` to before `last`, CSC."""
    import torch

    with torch.no_grad():
        pieces = [
            dictionary.encode(store.read(site, np.arange(start, min(start + _BATCH, last)))).to_csr()
            for start in range(first, last, _BATCH)
        ]
    return sp.vstack(pieces, format="csc", dtype=np.float32)

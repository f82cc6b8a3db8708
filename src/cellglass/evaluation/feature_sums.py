"""Sums over all tokens of some cells for the units of every layer: added up block by block, kept on disk in between.

Cells are in two halves, drawn by the seed: what a unit is said to fire on is chosen on one and scored on the other. Of
a gene that is several tokens of a cell the largest activation counts, so that a gene is counted once for each cell that
reads it. Memory grows with units x genes, and units x pieces of text of genes, on which they fire, and with units x
cells in which they fire, whose number is bounded; it holds the activations of one batch of tokens. It judges nothing.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from cellglass.attribution.pooled import max_pooled
from cellglass.cells.cells import Cells
from cellglass.circuits.objectives import ANSWER, GENE, Objective
from cellglass.evaluation.feature_units import Units, read_tokens_at
from cellglass.evaluation.tokens import GeneSums
from cellglass.files import atomic_path, read_json
from cellglass.models.transformer.tokens import Ints
from cellglass.progress import Progress, silent
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

KINDS = ("prompt", "gene", "question", "hidden", "answer")
"""What a token is, by its number in `cellglass.circuits.objectives`."""
CHOOSE, SCORE = 0, 1
"""The halves of the cells."""
CELLS_AT_ONCE = 128

_NEXT = "next.json"


class UnitSums:
    """Sums of the units of one layer.

    Parameters
    ----------
    n_units, n_genes : int

    Attributes
    ----------
    genes : tuple of GeneSums
        Of each half, over pairs of a cell and a gene that it reads.
    pieces : list of scipy.sparse.csr_matrix, each (units, pieces)
        Of each half, over tokens of genes: sum of activations on each piece of text, by its number in the vocabulary.
    mass, active : numpy.ndarray of float64, (2, 5, units)
        Of each half and kind of token: sum of activations, and tokens at which they are above 0.
    tokens : numpy.ndarray of int64, (2, 5)
    pooled : list of scipy.sparse.csr_matrix, each (cells, units)
        Largest activation over the tokens of each cell but those of the answer, block by block.
    """

    def __init__(self, n_units: int, n_genes: int) -> None:
        self.n_units = n_units
        self.genes = (GeneSums(n_units, n_genes), GeneSums(n_units, n_genes))
        self.pieces = [sp.csr_matrix((n_units, 1)) for _ in range(2)]
        self.mass, self.active = (np.zeros((2, len(KINDS), n_units)) for _ in range(2))
        self.tokens = np.zeros((2, len(KINDS)), dtype=np.int64)
        self.pooled: list[sp.csr_matrix] = []

    def add(self, codes: sp.csr_matrix, cell: Ints, gene: Ints, piece: Ints, part: Ints, half: Ints) -> None:
        """Add some tokens, all of each cell at once.

        Parameters
        ----------
        codes : csr_matrix, (tokens, units)
        cell, gene, piece, part : int arrays, (tokens,)
            As of `cellglass.evaluation.feature_units.Tokens`.
        half : int array, (cells,)
            Of each cell of the block.
        """
        group = half[cell] * len(KINDS) + part
        shape = (2 * len(KINDS), len(cell))
        gather = sp.csr_matrix((np.ones(len(cell)), (group, np.arange(len(cell)))), shape=shape)
        self.mass += (gather @ codes).toarray().reshape(self.mass.shape)
        self.active += (gather @ (codes > 0).astype(np.float64)).toarray().reshape(self.mass.shape)
        self.tokens += np.bincount(group, minlength=2 * len(KINDS)).reshape(self.tokens.shape)
        for number, sums in enumerate(self.genes):
            here = np.flatnonzero((part == GENE) & (half[cell] == number))
            pair, place = np.unique(cell[here] * len(sums.tokens) + gene[here], return_inverse=True)
            if len(pair):
                sums.add(max_pooled(codes[here], place, len(pair)), pair % len(sums.tokens))
                self._add_pieces(number, codes[here], piece[here])

    def _add_pieces(self, half: int, codes: sp.csr_matrix, piece: Ints) -> None:
        width = max(self.pieces[half].shape[1], int(piece.max()) + 1)
        self.pieces[half].resize(self.n_units, width)
        which = sp.csr_matrix((np.ones(len(piece)), (np.arange(len(piece)), piece)), shape=(len(piece), width))
        self.pieces[half] = self.pieces[half] + codes.T.tocsr().astype(np.float64) @ which

    @property
    def frequency(self) -> Array:
        """Share of all tokens at which each unit is active, (units,)."""
        return np.asarray(self.active.sum(axis=(0, 1)) / max(1, self.tokens.sum()))

    @property
    def by_cell(self) -> sp.csc_matrix:
        """Largest activation of each unit over the tokens of each cell, CSC (cells, units)."""
        return sp.vstack(self.pooled, format="csc")

    def save(self, folder: Path) -> None:
        """Write the sums into a folder."""
        folder.mkdir()
        for number, sums in enumerate(self.genes):
            sums.save(folder / f"genes-{number}.npz")
        for number, matrix in enumerate(self.pieces):
            sp.save_npz(folder / f"pieces-{number}.npz", matrix)
        pooled = sp.csr_matrix(self.by_cell)
        with (folder / "units.npz").open("wb") as file:
            np.savez(
                file, mass=self.mass, active=self.active, tokens=self.tokens, data=pooled.data, indices=pooled.indices,
                indptr=pooled.indptr, cells=pooled.shape[0],
            )  # fmt: skip

    @classmethod
    def load(cls, folder: Path) -> UnitSums:
        """Read what `save` wrote."""
        found = (GeneSums.load(folder / "genes-0.npz"), GeneSums.load(folder / "genes-1.npz"))
        sums = cls(found[0].n_latents, found[0].n_genes)
        sums.genes = found
        sums.pieces = [sp.load_npz(folder / f"pieces-{number}.npz") for number in range(2)]
        with np.load(folder / "units.npz", allow_pickle=False) as kept:
            sums.mass, sums.active, sums.tokens = kept["mass"], kept["active"], kept["tokens"]
            parts = kept["data"], kept["indices"], kept["indptr"]
            sums.pooled = [sp.csr_matrix(parts, shape=(int(kept["cells"]), sums.n_units))]
        return sums


def halves(n_cells: int, seed: int) -> Ints:
    """Return the half of each cell, `CHOOSE` or `SCORE`."""
    half = np.zeros(n_cells, dtype=np.int64)
    half[generator(seed, "feature halves").permutation(n_cells)[: n_cells // 2]] = SCORE
    return half


def sum_units(
    objective: Objective,
    cells: Cells,
    units: Units,
    half: Ints,
    *,
    folder: Path | None = None,
    progress: Progress = silent,
) -> list[UnitSums]:
    """Return the sums of the units of every layer over all tokens of `cells`.

    Parameters
    ----------
    objective
        The model, and how it is shown cells.
    cells
        They may lie on disk.
    units
    half : int array, (cells,)
    folder
        Where sums are kept after each block of cells, so that a call that was killed goes on from there.
    progress
        Told the cells that are done.
    """
    begun = 0
    sums = [UnitSums(number, len(objective.model.genes)) for number in units.numbers]
    if folder is not None and folder.is_dir():
        begun = int(read_json(folder / _NEXT, way_out=f"remove {folder}")["next"])
        sums = [UnitSums.load(folder / f"layer-{layer}") for layer in range(len(sums))]
    for first in range(begun, cells.n_cells, CELLS_AT_ONCE):
        stop = min(first + CELLS_AT_ONCE, cells.n_cells)
        _add_block(objective, cells[first:stop], units, half[first:stop], sums)
        if folder is not None:
            _keep(sums, stop, folder)
        progress(f"what {units.name} fire on", stop, cells.n_cells)
    return sums


def _add_block(objective: Objective, cells: Cells, units: Units, half: Ints, sums: Sequence[UnitSums]) -> None:
    pooled = [sp.csr_matrix((cells.n_cells, one.n_units), dtype=np.float32) for one in sums]
    for tokens in read_tokens_at(objective, cells, units.points):
        said = tokens.part != ANSWER
        for layer, (one, x) in enumerate(zip(sums, tokens.states, strict=True)):
            codes = units.encode(layer, x)
            one.add(codes, tokens.cell, tokens.gene, tokens.piece, tokens.part, half)
            pooled[layer] = pooled[layer] + max_pooled(codes[said], tokens.cell[said], cells.n_cells)
    for one, block in zip(sums, pooled, strict=True):
        one.pooled.append(block)


def _keep(sums: Sequence[UnitSums], stop: int, folder: Path) -> None:
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        for layer, one in enumerate(sums):
            one.save(temporary / f"layer-{layer}")
        (temporary / _NEXT).write_text(json.dumps({"next": stop}), encoding="utf-8")

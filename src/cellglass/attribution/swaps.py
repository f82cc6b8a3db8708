"""Counterfactual sweeps: every gene that differs between prototype and partner is swapped alone, or knocked out alone.

For a prototype p with activation a_c(p) of concept c, and p with the count of gene g set to x:

    effect = (a_c(p) - a_c(p with g at x)) / a_c(p)

x is the partner's count (swap; Claye et al., arXiv 2510.25807) or 0 (knock-out). Pairs that ask for the same (cell,
gene, count) share one run of the model, and those that ask for the same concept on top share one run of the
dictionary: with several partners most swaps set a count to 0 or 1, so about half of the work falls away. Holds no
n_cells x n_genes matrix.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from cellglass.cells.cells import Cells
from cellglass.dictionaries.base import Dictionary
from cellglass.models.base import CellModel
from cellglass.progress import Progress, silent

Array = np.ndarray[Any, Any]
# Numbers that a chunk of the dictionary's pre-activations may hold (float32: 16 MiB), and that a dense block of
# counts may.
_CHUNK = 1 << 22


class Edits(NamedTuple):
    """Single changes that somebody asks for, flat; all arrays have one entry an edit.

    Attributes
    ----------
    row : int64
        Row of the pair (or of the prototype) that asks.
    cell : int64
        Position of the changed cell.
    concept : int64
        The latent that is read.
    gene : int64
        Position of the changed gene.
    counts : float32
        Its new count.
    """

    row: Array
    cell: Array
    concept: Array
    gene: Array
    counts: Array


def swap_edits(counts: sp.csr_matrix, prototype: Array, partner: Array, concept: Array) -> Edits:
    """Return one edit for each pair and gene whose counts differ: the prototype's count becomes the partner's."""
    step = max(1, _CHUNK // counts.shape[1])
    rows, genes, values = [], [], []
    for start in range(0, len(prototype), step):
        piece = slice(start, start + step)
        theirs = counts[partner[piece]].toarray()
        row, gene = np.nonzero(theirs != counts[prototype[piece]].toarray())
        rows.append(row + start)
        genes.append(gene)
        values.append(theirs[row, gene])
    return _edits(rows, genes, values, prototype, concept)


def knockout_edits(counts: sp.csr_matrix, prototype: Array, concept: Array) -> Edits:
    """Return one edit for each prototype and gene that it expresses: its count becomes 0."""
    taken = counts[prototype].tocoo()
    present = taken.data > 0
    row, gene = taken.row[present].astype(np.int64), taken.col[present].astype(np.int64)
    return _edits([row], [gene], [np.zeros(len(row), dtype=np.float32)], prototype, concept)


def readouts(
    model: CellModel, cells: Cells, site: str, dictionary: Dictionary, cell: Array, concept: Array, on: tuple[str, ...]
) -> dict[str, Array]:
    """Return what unchanged cells read, float32 (len(cell),) a readout: cell ``cell[i]`` at ``concept[i]``."""
    unique, which = np.unique(cell, return_inverse=True)
    size = chunk_size(dictionary)
    out = {name: np.empty(len(cell), dtype=np.float32) for name in on}
    with torch.no_grad():
        for start in range(0, len(unique), size):
            x = model.activations(cells[unique[start : start + size]], [site])[site]
            asks = np.flatnonzero((which >= start) & (which < start + size))
            for part in np.array_split(asks, max(1, -(-len(asks) // size))):
                values = _read(dictionary, x, which[part] - start, concept[part], on)
                for name in on:
                    out[name][part] = values[name]
    return out


def effects(
    model: CellModel,
    cells: Cells,
    site: str,
    dictionary: Dictionary,
    edits: Edits,
    on: tuple[str, ...] = ("activation",),
    *,
    progress: Progress = silent,
) -> dict[str, Array]:
    """Return the share of its readout that each edit takes from its cell, float32 (len(edits.row),) for each of `on`.

    Parameters
    ----------
    model : CellModel
        Runs the edits (`CellModel.perturbed_activations`).
    cells : Cells
        Aligned to the model.
    site : str
        Where the dictionary reads.
    dictionary : Dictionary
        Gives ``activation`` (after selection) and ``preactivation``.
    edits : Edits
        In any order and with repeats: each different one is run once.
    on : tuple of {"activation", "preactivation"}
        What to read. Every edited cell must have a readout above 0 there; where it has not, the effect is NaN.
    progress : Progress
        Hears of edits that were run.
    """
    if not len(edits.row):
        return {name: np.empty(0, dtype=np.float32) for name in on}
    cell_of, cell = np.unique(edits.cell, return_inverse=True)
    concept_of, concept = np.unique(edits.concept, return_inverse=True)
    levels = int(edits.counts.max()) + 1
    if len(cell_of) * cells.n_genes * levels * len(concept_of) >= 2**63:
        raise OverflowError(f"{len(cell_of)} cells, {levels} counts and {len(concept_of)} concepts: split the work")
    change = (cell * cells.n_genes + edits.gene) * levels + edits.counts.astype(np.int64)
    asked, inverse = np.unique(change * len(concept_of) + concept, return_inverse=True)
    concept, change = asked % len(concept_of), asked // len(concept_of)
    cell = change // (levels * cells.n_genes)
    taken = cells[cell_of]
    # A cell and a concept belong together in few combinations: read each once, unchanged.
    both, which = np.unique(cell * len(concept_of) + concept, return_inverse=True)
    base = readouts(model, taken, site, dictionary, both // len(concept_of), concept_of[both % len(concept_of)], on)
    values = _run(model, taken, site, dictionary, change, levels, concept_of[concept], on, progress)
    out = {}
    for name in on:
        start = base[name][which]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(start > 0, (start - values[name]) / start, np.nan).astype(np.float32)
        out[name] = share[inverse]
    return out


def _run(
    model: CellModel,
    cells: Cells,
    site: str,
    dictionary: Dictionary,
    change: Array,
    levels: int,
    concept: Array,
    on: tuple[str, ...],
    progress: Progress,
) -> dict[str, Array]:
    """Run each different change once and read it at every concept that asks; `change` is sorted and may repeat."""
    out = {name: np.empty(len(change), dtype=np.float32) for name in on}
    first = np.flatnonzero(np.diff(change, prepend=-1))
    size = chunk_size(dictionary)
    with torch.no_grad():
        for start in range(0, len(first), size):
            changes = change[first[start : start + size]]
            stop = first[start + size] if start + size < len(first) else len(change)
            rows = slice(first[start], stop)
            gene = (changes // levels) % cells.n_genes
            count = (changes % levels).astype(np.float32)
            x = model.perturbed_activations(cells, site, changes // (levels * cells.n_genes), gene, count)
            repeat = np.searchsorted(changes, change[rows])
            for name, values in _read(dictionary, x, repeat, concept[rows], on).items():
                out[name][rows] = values
            progress("counterfactual edits", int(stop), len(change))
    return out


def _read(dictionary: Dictionary, x: torch.Tensor, row: Array, concept: Array, on: tuple[str, ...]) -> dict[str, Array]:
    rows, latent = torch.from_numpy(row), torch.from_numpy(concept)
    out = {}
    if "activation" in on:
        repeated = x if len(row) == len(x) and bool((row == np.arange(len(row))).all()) else x[rows]
        out["activation"] = dictionary.activations_of(repeated, latent).numpy()
    if "preactivation" in on:
        out["preactivation"] = dictionary.preactivations(x)[rows, latent].numpy()
    return out


def chunk_size(dictionary: Dictionary) -> int:
    """Return how many rows to read at once, so that their pre-activations stay small."""
    return int(np.clip(_CHUNK // max(dictionary.n_latents, 1), 256, 4096))


def _edits(rows: list[Array], genes: list[Array], values: list[Array], cell: Array, concept: Array) -> Edits:
    row = np.concatenate(rows) if rows else np.empty(0, dtype=np.int64)
    gene = np.concatenate(genes) if genes else np.empty(0, dtype=np.int64)
    count = np.concatenate(values) if values else np.empty(0, dtype=np.float32)
    return Edits(row, np.asarray(cell, dtype=np.int64)[row], np.asarray(concept, dtype=np.int64)[row], gene, count)

"""Runs of the model on changed counts: what unchanged cells read, and the share of it that each change takes.

For a cell with activation a_c of concept c, and the same cell with the count of gene g set to x:

    effect = (a_c - a_c(g at x)) / a_c

Edits that ask for the same (cell, gene, count) share one run of the model, and those that ask for the same concept on
top share one run of the dictionary: with several partners most swaps set a count to 0 or 1, so about half of the work
falls away, and the edits of all methods of a block are run together. That bounds the size of a block: memory is a few
hundred bytes an edit. Holds no n_cells x n_genes matrix.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch

from cellglass.attribution.edits import Changed, Edits
from cellglass.attribution.pairs import Pairs
from cellglass.attribution.screen import chosen_genes
from cellglass.attribution.work import Block, Subject, Work, columns
from cellglass.dictionaries.base import Dictionary
from cellglass.progress import Progress, silent

Array = np.ndarray[Any, Any]
_log = logging.getLogger(__name__)
# Numbers that a chunk of the dictionary's pre-activations may hold (float32: 16 MiB).
_CHUNK = 1 << 22


def run_edits(block: Block) -> dict[str, Changed]:
    """Run the edits of all methods of a block together: many swaps set a count to 0, which is a knock-out."""
    work = block.work
    asked = {method.name: method.edits(block) for method in work.plan.methods if method.edits is not None}
    if not asked:
        return {}
    chosen = chosen_genes(block, Edits.joined([edits for _, edits in asked.values()]))
    if chosen is not None:
        asked = {name: (rows, edits.among(chosen)) for name, (rows, edits) in asked.items()}
    on = dict.fromkeys(on for method in work.plan.methods if method.name in asked for on in method.reads(work.config))
    found = effects(work, Edits.joined([edits for _, edits in asked.values()]), tuple(on))
    changed, done = {}, 0
    for name, (rows, edits) in asked.items():
        mine = slice(done, done + len(edits.row))
        changed[name] = Changed(rows, edits, {key: values[mine] for key, values in found.items()})
        done = mine.stop
    return changed


def readouts(subject: Subject, cell: Array, concept: Array, on: tuple[str, ...]) -> dict[str, Array]:
    """Return what unchanged cells read, float32 (len(cell),) a readout: cell ``cell[i]`` at ``concept[i]``."""
    unique, which = np.unique(cell, return_inverse=True)
    size = chunk_size(subject.dictionary)
    out = {name: np.empty(len(cell), dtype=np.float32) for name in on}
    with torch.no_grad():
        for start in range(0, len(unique), size):
            some = subject.cells[unique[start : start + size]]
            x = subject.model.activations(some, [subject.site])[subject.site]  # (<= size, width)
            asks = np.flatnonzero((which >= start) & (which < start + size))
            for part in np.array_split(asks, max(1, -(-len(asks) // size))):
                values = read(subject.dictionary, x, which[part] - start, concept[part], on)
                for name in on:
                    out[name][part] = values[name]
    return out


def effects(
    subject: Subject, edits: Edits, on: tuple[str, ...] = ("activation",), *, progress: Progress = silent
) -> dict[str, Array]:
    """Return the share of its readout that each edit takes from its cell, float32 (len(edits.row),) for each of `on`.

    Parameters
    ----------
    subject : Subject
        Its model runs the edits (`CellModel.perturbed_activations`), its dictionary gives ``activation`` (after
        selection) and ``preactivation``.
    edits : Edits
        In any order and with repeats: each different one is run once.
    on : tuple of {"activation", "preactivation"}
        What to read. Every edited cell must have a readout above 0 there; where it has not, the effect is NaN.
    progress : Progress
        Told of edits that were run.
    """
    if not len(edits.row):
        return {name: np.empty(0, dtype=np.float32) for name in on}
    n_genes = subject.cells.n_genes
    cell_of, cell = np.unique(edits.cell, return_inverse=True)  # (cells,), (edits,)
    concept_of, concept = np.unique(edits.concept, return_inverse=True)  # (concepts,), (edits,)
    levels = int(edits.counts.max()) + 1
    if len(cell_of) * n_genes * levels * len(concept_of) >= 2**63:
        raise OverflowError(f"{len(cell_of)} cells, {levels} counts and {len(concept_of)} concepts: split the work")
    # One number for (cell, gene, count), one for (cell, gene, count, concept): equal edits have equal numbers.
    change = (cell * n_genes + edits.gene) * levels + edits.counts.astype(np.int64)  # (edits,)
    asked, inverse = np.unique(change * len(concept_of) + concept, return_inverse=True)  # (asked,), (edits,)
    concept, change = asked % len(concept_of), asked // len(concept_of)  # (asked,), (asked,)
    cell = change // (levels * n_genes)  # (asked,)
    taken = Subject(subject.model, subject.cells[cell_of], subject.site, subject.dictionary)
    # A cell and a concept belong together in few combinations: read each once, unchanged.
    both, which = np.unique(cell * len(concept_of) + concept, return_inverse=True)  # (combinations,), (asked,)
    base = readouts(taken, both // len(concept_of), concept_of[both % len(concept_of)], on)  # (combinations,) each
    values = _run(taken, change, levels, concept_of[concept], on, progress)  # (asked,) each
    out = {}
    for name in on:
        start = base[name][which]  # (asked,)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(start > 0, (start - values[name]) / start, np.nan).astype(np.float32)  # (asked,)
        out[name] = share[inverse]  # (edits,)
    return out


def _run(
    subject: Subject, change: Array, levels: int, concept: Array, on: tuple[str, ...], progress: Progress
) -> dict[str, Array]:
    """Run each different change once and read it at every concept that asks; `change` is sorted and may repeat."""
    n_genes, dictionary = subject.cells.n_genes, subject.dictionary
    out = {name: np.empty(len(change), dtype=np.float32) for name in on}
    first = np.flatnonzero(np.diff(change, prepend=-1))  # where each different change begins
    size = chunk_size(dictionary)
    with torch.no_grad():
        for start in range(0, len(first), size):
            changes = change[first[start : start + size]]  # (n,), n <= size
            stop = first[start + size] if start + size < len(first) else len(change)
            rows = slice(first[start], stop)  # m askers, m >= n
            cell, gene = changes // (levels * n_genes), (changes // levels) % n_genes
            count = (changes % levels).astype(np.float32)
            x = subject.model.perturbed_activations(subject.cells, subject.site, cell, gene, count)  # (n, width)
            repeat = np.searchsorted(changes, change[rows])  # (m,): the row of x of each asker
            for name, values in read(dictionary, x, repeat, concept[rows], on).items():
                out[name][rows] = values
            progress("counterfactual edits", int(stop), len(change))
    return out


def read(dictionary: Dictionary, x: torch.Tensor, row: Array, concept: Array, on: tuple[str, ...]) -> dict[str, Array]:
    """Return what row ``row[i]`` of activations `x` reads at ``concept[i]``, (len(row),) for each of `on`."""
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


def needed_readouts(work: Work) -> tuple[str, ...]:
    """Return the readouts that prototypes must have above 0: those of the methods asked for that ask the model."""
    methods = [method for method in work.plan.methods if method.asks_model]
    needed = dict.fromkeys(on for method in methods if method.counterfactual for on in method.reads(work.config))
    if not all(method.counterfactual for method in methods):
        needed["preactivation"] = None
    return tuple(needed)


def readable(work: Work, chosen: Pairs) -> Pairs:
    """Leave out prototypes that the model, run again, does not read above 0 (stored codes are rounded).

    Effects are shares of what the prototype reads: after the selection where the model is run on changed counts, and
    before it where gradients are taken, which do not go through the selection.
    """
    needed = needed_readouts(work)
    if chosen.table.empty or not needed:
        return chosen
    cell, concept = columns(chosen.table, "prototype", "concept")
    found = readouts(work, cell, concept, needed)
    positive = np.logical_and.reduce([values > 0 for values in found.values()])  # (pairs,)
    concepts = chosen.concepts.copy()
    for number, n in chosen.table[~positive].groupby("concept")["prototype"].nunique().items():
        text = f"{n} prototypes left out: the model, run again, reads them at 0"
        row = concepts["concept"] == number
        concepts.loc[row, "note"] = concepts.loc[row, "note"].where(lambda s: s == "", lambda s: s + "; ") + text
        _log.info("concept %s: %s", number, text)
    return Pairs(chosen.table.loc[np.flatnonzero(positive)].reset_index(drop=True), concepts)

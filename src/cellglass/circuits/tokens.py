"""Inputs and outputs of every MLP of a transformer at single tokens, in one pass over the cells, kept on disk.

A transcoder stands in an MLP's place at every token, so it learns from all: the prompt's, each of a gene's, the
question's and the answer's. Most say little that is new, so they are thinned:

    prompt tokens                                       3 %
    gene tokens                                         40 %
    question, special, hidden and answer tokens         all

Whether a token is kept depends on the seed, the cell's name and the token's place alone. Of encoders, half of the cells
are shown with hidden tokens. Rows lie in a store of activations with two sites a layer; `gene` is -1 where a token is
of no gene. A capture that was killed goes on from its last whole shard and gives the same bytes. Memory holds the rows
of some cells and one unfinished shard. It trains nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from cellglass.activations.manifest import StoredSite
from cellglass.activations.shards import DType
from cellglass.activations.store import Store, open_store
from cellglass.activations.writer import SHARD_BYTES, SiteBatch, Writer
from cellglass.cells.cells import Cells
from cellglass.circuits.mlps import mlp_sites, take
from cellglass.circuits.objectives import ANSWER, GENE, HIDDEN, PROMPT, SPECIAL, Objective, Shown
from cellglass.errors import InputError
from cellglass.models.transformer.hooks import run
from cellglass.models.transformer.model import TransformerModel
from cellglass.models.transformer.tokens import Ints, batches_by_length
from cellglass.progress import Progress, silent
from cellglass.seeds import lots

SHARES: Mapping[int, float] = {PROMPT: 0.03, GENE: 0.4, SPECIAL: 1.0, HIDDEN: 1.0, ANSWER: 1.0}
"""Part of the text -> share of its tokens that is kept."""
SHOWN_HIDDEN = 0.5
"""Share of the cells that an encoder is shown with hidden tokens."""

CELLS_AT_ONCE = 256
"""Cells whose tokens are made at once."""
_FLOATS = 1 << 25  # numbers that rows may take before they are written


def kept_tokens(shown: Shown, cells: Cells, seed: int) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Return which tokens are kept, bool (tokens,): each with the share of its part, see `SHARES`."""
    lengths = shown.tokens.lengths
    cell = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(cell)) - np.repeat(shown.tokens.start[:-1], lengths)
    lot = lots(seed, "transcoder tokens", cells.obs.index, cell, place).astype(np.float64) / 2.0**64
    share = np.array([SHARES[part] for part in range(len(SHARES))])
    kept: np.ndarray[tuple[int], np.dtype[np.bool_]] = lot < share[shown.part]
    return kept


def rows_per_cell(objective: Objective, cells: Cells, seed: int) -> float:
    """Return how many tokens of a cell are kept, on average over `cells`."""
    aligned = objective.model.align(cells)
    return float(kept_tokens(objective.shown(aligned, SHOWN_HIDDEN), aligned, seed).sum()) / max(1, cells.n_cells)


def capture_tokens(
    objective: Objective,
    cells: Cells,
    folder: Path | str,
    *,
    rows: Ints | Sequence[int] | None = None,
    dtype: DType = "float32",
    seed: int = 0,
    source: str = "",
    shard_bytes: int = SHARD_BYTES,
    progress: Progress = silent,
) -> Store:
    """Keep the inputs and outputs of every MLP at some tokens of `cells` in `folder`.

    Parameters
    ----------
    objective
        The model, and how it is shown cells.
    cells
        Cells with raw counts, which may lie on disk; the model aligns them.
    folder
        A new or empty folder, or one that an interrupted call with the same arguments left.
    rows
        Positions of the cells to read; all by default. `Store.rows(site).cells()` counts along these.
    dtype
        What rows are kept in.
    seed
        Of which tokens are kept.
    source
        Names the model's weights and the cells, so that a capture of others is not gone on with.
    shard_bytes
        A shard closes once all sites together pass this size.
    progress
        Told how many cells are done.

    Raises
    ------
    InputError
        No cells, activations that are not finite in `dtype`, or a folder that holds something else.
    """
    model = objective.model
    chosen = np.arange(cells.n_cells) if rows is None else np.asarray(rows, dtype=np.int64)
    if not len(chosen):
        raise InputError(f"{cells.source}: there are no cells to read MLPs at")
    sites = mlp_sites(model)
    kept = {name: StoredSite(model.site(name).width, "token", dtype) for name in sites}
    writer = Writer(folder, len(chosen), f"mlp tokens {source} seed {seed}", kept, shard_bytes)
    for first in range(writer.next_cell // CELLS_AT_ONCE * CELLS_AT_ONCE, len(chosen), CELLS_AT_ONCE):
        block = model.align(cells[chosen[first : first + CELLS_AT_ONCE]])
        shown = objective.shown(block, SHOWN_HIDDEN)
        keep = kept_tokens(shown, block, seed)
        for some in pieces(shown, keep, sum(site.width for site in kept.values())):
            stop = first + int(some[-1]) + 1
            if stop <= writer.next_cell:
                continue
            writer.add(stop, read_tokens(model, shown, keep, some, first, sites))
            progress("read the MLPs", stop, len(chosen))
    writer.close()
    return open_store(folder)


def pieces(shown: Shown, keep: np.ndarray[tuple[int], np.dtype[np.bool_]], width: int) -> Iterator[Ints]:
    """Yield cells in their order, so many at once as rows of all sites together may take."""
    ahead = np.concatenate([[0], np.cumsum(keep)])
    rows = np.diff(ahead[shown.tokens.start])
    edges = np.flatnonzero(np.diff(np.cumsum(rows) * width // _FLOATS)) + 1
    yield from np.split(np.arange(len(rows)), edges)


@torch.no_grad()
def read_tokens(
    model: TransformerModel,
    shown: Shown,
    keep: np.ndarray[tuple[int], np.dtype[np.bool_]],
    some: Ints,
    first: int,
    sites: Sequence[str],
) -> dict[str, SiteBatch]:
    """Return the rows of the cells `some` of a block that begins at cell `first`, cell after cell."""
    values: dict[str, list[torch.Tensor]] = {name: [] for name in sites}
    cells, genes = [], []
    marked = shown._replace(part=np.where(keep, shown.part, -1))
    for batch_cells in batches_by_length(shown.tokens.lengths[some], model.batch_tokens):
        chosen = some[batch_cells]
        batch = shown.tokens.padded(chosen, model.pad_id, model.pad_value).to(model.device)
        place = (marked.parts(chosen) >= 0).to(model.device)
        taking = {name: take(place, values[name]) for name in sites}
        run(model.net, partial(model.forward, batch), model.points, (), taking)
        cells.append(np.repeat(chosen, place.sum(1).cpu().numpy()))
        genes.append(batch.gene[place].cpu().numpy())
    cell = np.concatenate(cells)
    order = np.argsort(cell, kind="stable")
    gene = np.concatenate(genes)[order]
    return {
        name: SiteBatch(torch.cat(parts)[torch.from_numpy(order)], cell[order] + first, gene)
        for name, parts in values.items()
    }

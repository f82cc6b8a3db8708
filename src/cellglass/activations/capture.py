"""Runs a model over cells and keeps its activations on disk, batch by batch; interrupted, the same call goes on.

Memory holds two batches and one unfinished shard: while the model runs on one batch, the next is made ready in a
thread. Where the model has a posterior at a site, its mean is what is kept and its standard deviation lies beside it,
so that training can draw from the posterior without the model. Of a site with one row for each gene of a cell, a
sample of each cell's rows can be kept: which rows depends on the seed, the cell's name and the genes alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cellglass.activations.manifest import StoredSite
from cellglass.activations.rows import Ints
from cellglass.activations.shards import DType
from cellglass.activations.store import Store, open_store
from cellglass.activations.writer import SHARD_BYTES, SiteBatch, Writer
from cellglass.cells.cells import Cells, CellsLike
from cellglass.cells.read import as_cells
from cellglass.errors import InputError
from cellglass.models.base import CellModel, TokenRows
from cellglass.models.transformer.model import TransformerModel
from cellglass.models.transformer.tokens import TokenLists
from cellglass.progress import Progress, silent
from cellglass.seeds import lots

_FLOATS = 1 << 26
"""Numbers that the rows of genes may take before they are sampled."""


def capture(
    model: CellModel,
    cells: CellsLike,
    sites: Sequence[str],
    folder: Path | str,
    *,
    dtype: DType = "float32",
    posterior: bool = True,
    batch_size: int = 1024,
    tokens_per_cell: int | None = None,
    seed: int = 0,
    shard_bytes: int = SHARD_BYTES,
    fingerprint: str = "",
    progress: Progress = silent,
) -> Store:
    """Keep the activations of `cells` at `sites` in `folder`.

    A capture that was killed goes on from its last whole shard and gives the same store; a complete one is opened as
    it is.

    Parameters
    ----------
    model
        Gives the activations; it aligns the cells to its genes.
    cells
        Cells with raw counts.
    sites
        Names of sites of the model.
    folder
        The store; a new or empty folder, or one that an interrupted call with the same arguments left.
    dtype
        What rows are kept in.
    posterior
        Keep the posterior's standard deviation where the model has one.
    batch_size
        Cells that are handed to the model at once.
    tokens_per_cell
        At sites with one row for each gene of a cell, keep at most this many rows of each cell; None keeps all. A
        thousand genes at 512 dimensions are 2 MB a cell.
    seed
        Of that sample.
    shard_bytes
        A shard file closes once the sites together pass this size.
    fingerprint
        Names the model's weights, so that a capture of other weights is not gone on with.
    progress
        Told how many cells are done.

    Raises
    ------
    InputError
        An unknown site, no cells, activations that are not finite, or a folder that holds something else.
    """
    cells = as_cells(cells)
    if not len(sites) or len(set(sites)) != len(sites):
        raise InputError(f"sites to capture are {list(sites)}; name each of at least one site once")
    if not cells.n_cells:
        raise InputError(f"{cells.source}: there are no cells to capture activations of")
    if tokens_per_cell is not None and tokens_per_cell < 1:
        raise InputError(f"tokens_per_cell is {tokens_per_cell}; it must be at least 1")
    granularity = {name: model.site(name).granularity for name in sites}
    of_cells = [name for name in sites if granularity[name] == "cell"]
    with torch.no_grad():
        with_sd = _sites_with_posterior(model, cells, of_cells) if posterior else set()
        kept = {name: StoredSite(model.site(name).width, granularity[name], dtype, name in with_sd) for name in sites}
        sample = f" tokens {tokens_per_cell} seed {seed}" if len(of_cells) < len(sites) else ""
        source = _source(model, cells, batch_size, shard_bytes, fingerprint) + sample
        writer = Writer(folder, cells.n_cells, source, kept, shard_bytes)
        plain = [name for name in sites if name not in with_sd]
        for start, batch, prepared in _ahead(model, cells, writer.next_cell, batch_size, prepare=bool(plain)):
            found = _read(model, prepared, plain, batch, start, tokens_per_cell, seed) if plain else {}
            for name in with_sd:
                found[name] = _posterior(model, batch, name, start)
            writer.add(start + batch.n_cells, {name: found[name] for name in sites})
            progress("capture activations", start + batch.n_cells, cells.n_cells)
        writer.close()
    return open_store(folder)


def _sites_with_posterior(model: CellModel, cells: Cells, sites: Sequence[str]) -> set[str]:
    """Return the sites at which the model has a posterior, by asking for that of one cell."""
    one = model.align(cells[:1])
    return {name for name in sites if model.posterior(one, name) is not None}


def _ahead(model: CellModel, cells: Cells, first: int, size: int, *, prepare: bool) -> Iterator[tuple[int, Cells, Any]]:
    """Yield where each batch starts, the batch, and what the model reads of it, made while the one before runs."""

    def make(start: int) -> tuple[Cells, Any]:
        batch = model.align(cells[start : start + size])
        return batch, model.prepare(batch) if prepare else None

    starts = range(first, cells.n_cells, size)
    with ThreadPoolExecutor(1, "prepare cells") as worker:
        made = worker.submit(make, first) if starts else None
        for start in starts:
            assert made is not None  # noqa: S101
            batch, prepared = made.result()
            if start + size < cells.n_cells:
                made = worker.submit(make, start + size)
            yield start, batch, prepared


def _read(
    model: CellModel, prepared: Any, sites: Sequence[str], batch: Cells, start: int, most: int | None, seed: int
) -> dict[str, SiteBatch]:
    """Return one batch of each site; rows of genes are read for as many cells at once as memory allows."""
    width = sum(model.site(name).width for name in sites if model.site(name).granularity == "token")
    if not width or not isinstance(model, TransformerModel):
        return _site_batches(model.read(prepared, sites), batch, start, most, seed)
    tokens: TokenLists = prepared
    kept = None if most is None else _kept(tokens, batch, most, seed)
    rows = tokens.lengths if most is None else np.minimum(tokens.lengths, most)
    parts = []
    for some in np.split(np.arange(len(tokens)), np.flatnonzero(np.diff(np.cumsum(rows) * width // _FLOATS)) + 1):
        mine = None if kept is None else kept[tokens.start[some[0]] : tokens.start[some[-1] + 1]]
        found = model.read(tokens.take(some), sites, mine)
        parts.append(_site_batches(found, batch[some], start + int(some[0]), None, seed))
    return {name: _joined([part[name] for part in parts]) for name in sites}


def _kept(tokens: TokenLists, batch: Cells, most: int, seed: int) -> Ints:
    """Return the gene of each token, -1 where it is not in the sample: a gene's tokens stand side by side."""
    cell = np.repeat(np.arange(len(tokens)), tokens.lengths)
    new = np.ones(len(cell), dtype=bool)
    new[1:] = (cell[1:] != cell[:-1]) | (tokens.gene[1:] != tokens.gene[:-1])
    first = np.flatnonzero(new & (tokens.gene >= 0))
    chosen = np.zeros(len(cell), dtype=bool)
    chosen[first[sample_tokens(cell[first], tokens.gene[first], batch, most, seed)]] = True
    return np.where(chosen[np.flatnonzero(new)][np.cumsum(new) - 1], tokens.gene, -1)


def _joined(parts: Sequence[SiteBatch]) -> SiteBatch:
    genes = [part.gene for part in parts if part.gene is not None]
    return SiteBatch(
        torch.cat([part.values for part in parts]),
        np.concatenate([part.cell for part in parts]),
        np.concatenate(genes) if genes else None,
    )


def _site_batches(
    found: Mapping[str, torch.Tensor | TokenRows], batch: Cells, start: int, most: int | None, seed: int
) -> dict[str, SiteBatch]:
    """Return one batch of each site; of a site with one row for each gene, the sample of rows that is kept."""
    result = {}
    for name, rows in found.items():
        if isinstance(rows, torch.Tensor):
            result[name] = SiteBatch(rows, np.arange(start, start + batch.n_cells, dtype=np.int64))
        elif most is None:
            result[name] = SiteBatch(rows.values, rows.cell + start, rows.gene)
        else:
            chosen = sample_tokens(rows.cell, rows.gene, batch, most, seed)
            values = rows.values[torch.from_numpy(chosen)]
            result[name] = SiteBatch(values, rows.cell[chosen] + start, rows.gene[chosen])
    return result


def _posterior(model: CellModel, batch: Cells, name: str, start: int) -> SiteBatch:
    found = model.posterior(batch, name)
    assert found is not None, "a site has a posterior for all cells or for none"  # noqa: S101
    cell = np.arange(start, start + batch.n_cells, dtype=np.int64)
    return SiteBatch(found[0], cell, sd=found[1])


def sample_tokens(cell: Ints, gene: Ints, cells: Cells, most: int, seed: int) -> Ints:
    """Return which rows to keep, ascending: of each cell the `most` whose hash of seed, cell name and gene is least.

    Parameters
    ----------
    cell, gene
        Cell (position in `cells`) and gene of each row.
    cells
        Carry the names.
    """
    key = lots(seed, "tokens", cells.obs.index, cell, gene)
    order = np.lexsort((key, cell))
    first = np.searchsorted(cell[order], cell[order])
    return np.sort(order[np.arange(len(order)) - first < most])


def _source(model: CellModel, cells: Cells, batch_size: int, shard_bytes: int, fingerprint: str) -> str:
    """Return what the store depends on beside its sites, as text."""
    digest = hashlib.sha256()
    for names in (model.genes, cells.obs.index, cells.genes.index):
        digest.update("\n".join(map(str, names)).encode() + b"\0")
    digest.update(f"{cells.counts.nnz} {cells.counts.data.sum(dtype=np.float64)}".encode())
    return f"{model.kind} {fingerprint} cells {digest.hexdigest()[:16]} batches {batch_size} shards {shard_bytes}"

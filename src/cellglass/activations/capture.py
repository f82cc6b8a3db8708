"""Runs a model over cells and keeps its activations on disk, batch by batch; interrupted, the same call goes on.

Memory holds one batch and one unfinished shard. Where the model has a posterior at a site, its mean is what is kept
and its standard deviation lies beside it, so that training can draw from the posterior without the model.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from cellglass.activations.manifest import StoredSite
from cellglass.activations.shards import DType
from cellglass.activations.store import Store, open_store
from cellglass.activations.writer import SHARD_BYTES, SiteBatch, Writer
from cellglass.cells.cells import Cells
from cellglass.errors import InputError
from cellglass.models.base import CellModel
from cellglass.progress import Progress, silent


def capture(
    model: CellModel,
    cells: Cells,
    sites: Sequence[str],
    folder: Path | str,
    *,
    dtype: DType = "float32",
    posterior: bool = True,
    batch_size: int = 1024,
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
        Cells that are run at once.
    shard_bytes
        A shard file closes once the sites together pass this size.
    fingerprint
        Names the model's weights, so that a capture of other weights is not gone on with.
    progress
        Hears how many cells are done.

    Raises
    ------
    InputError
        An unknown site, no cells, activations that are not finite, or a folder that holds something else.
    """
    if not len(sites) or len(set(sites)) != len(sites):
        raise InputError(f"sites to capture are {list(sites)}; name each of at least one site once")
    if not cells.n_cells:
        raise InputError(f"{cells.source}: there are no cells to capture activations of")
    for name in sites:
        if model.site(name).granularity == "token":
            raise InputError(f"site {name!r} has one row for each token; write it with cellglass.activations.Writer")
    with torch.no_grad():
        has_spread = _sites_with_posterior(model, cells, sites) if posterior else set()
        kept = {name: StoredSite(model.site(name).width, "cell", dtype, name in has_spread) for name in sites}
        writer = Writer(
            folder, cells.n_cells, _source(model, cells, batch_size, shard_bytes, fingerprint), kept, shard_bytes
        )
        while writer.next_cell < cells.n_cells:
            start = writer.next_cell
            stop = min(start + batch_size, cells.n_cells)
            (batch,) = model.batches(cells[start:stop], batch_size)
            writer.add(stop, _activations(model, batch, sites, has_spread, start))
            progress("capture activations", stop, cells.n_cells)
        writer.close()
    return open_store(folder)


def _sites_with_posterior(model: CellModel, cells: Cells, sites: Sequence[str]) -> set[str]:
    """Return the sites at which the model has a posterior, by asking for that of one cell."""
    one = model.align(cells[:1])
    return {name for name in sites if model.posterior(one, name) is not None}


def _activations(
    model: CellModel, batch: Cells, sites: Sequence[str], has_spread: set[str], start: int
) -> dict[str, SiteBatch]:
    """Return one batch of each site."""
    cell = np.arange(start, start + batch.n_cells, dtype=np.int64)
    plain = [name for name in sites if name not in has_spread]
    values = model.activations(batch, plain) if plain else {}
    result = {}
    for name in sites:
        if name in has_spread:
            found = model.posterior(batch, name)
            assert found is not None, "a site has a posterior for all cells or for none"  # noqa: S101
            result[name] = SiteBatch(found[0], cell, spread=found[1])
        else:
            result[name] = SiteBatch(values[name], cell)
    return result


def _source(model: CellModel, cells: Cells, batch_size: int, shard_bytes: int, fingerprint: str) -> str:
    """Return what the store depends on beside its sites, as text."""
    digest = hashlib.sha256()
    for names in (model.genes, cells.obs.index, cells.genes.index):
        digest.update("\n".join(map(str, names)).encode() + b"\0")
    digest.update(f"{cells.counts.nnz} {cells.counts.data.sum(dtype=np.float64)}".encode())
    return f"{model.kind} {fingerprint} cells {digest.hexdigest()[:16]} batches {batch_size} shards {shard_bytes}"

"""The first stages: cells onto disk, the model that explains them, its activations, and where each cell is drawn.

Each ends in a folder or file under ``work/``, from which later stages read; nothing is held in memory between stages.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellglass.errors import InputError
from cellglass.files import atomic_path, sha256
from cellglass.pipeline.runner import Run
from cellglass.seeds import derive
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.activations import Store
    from cellglass.cells import Cells
    from cellglass.models.base import CellModel

log = logging.getLogger(__name__)

CELLS = "work/cells"
EXPLAINED = "work/explained"
MODEL = "work/model"
ACTIVATIONS = "work/activations"
LAYOUT = "work/layout.npy"

EMBEDDING = "obsm:"


# -- cells -----------------------------------------------------------------------------------------------------------


def cells_settings(run: Run) -> Any:
    """Return what the cells are: the sha256 of their file or of their content, and which parts are read."""
    source = run.inputs.get("cells")
    config = run.config.cells
    columns = [*config.labels, *run.config.attribution.match, *([config.batch] if config.batch else [])]
    read = {"counts": config.counts, "gene_ids": config.gene_ids, "columns": columns}
    if source is None:
        return {"cells": "demo", **read}
    if isinstance(source, Path):
        return {"cells": sha256(source) if source.exists() else None, **read}
    return {"cells": cells_fingerprint(source), **read}


def make_cells(run: Run) -> None:
    """Read the cells, refuse what is no counts, and keep them memory-mapped on disk."""
    from cellglass.cells import demo_cells, read_cells, write_cells

    source = run.inputs.get("cells")
    config = run.config.cells
    columns = (*config.labels, *run.config.attribution.match, *((config.batch,) if config.batch else ()))
    if isinstance(source, Path):
        cells = read_cells(
            source, counts=config.counts, gene_ids=config.gene_ids, columns=columns, spool=run.path(CELLS)
        )
        if not run.path(CELLS).exists():  # cells that write_cells wrote are opened where they are
            write_cells(cells, run.path(CELLS))
    else:
        cells = demo_cells() if source is None else source
        for column in columns:
            cells.column(column)
        write_cells(cells, run.path(CELLS))
    _refuse_early(run)


def _refuse_early(run: Run) -> None:
    """Refuse, before anything is fitted, what would be found wrong only at the end."""
    from cellglass.cells import open_cells
    from cellglass.enrichment import load_source, restrict
    from cellglass.models.embedding import EmbeddingModel

    cells = open_cells(run.path(CELLS))
    path = run.config.model.path
    if path is not None and path.startswith(EMBEDDING):
        EmbeddingModel.of(cells, [path.removeprefix(EMBEDDING)])
    config = run.config.enrichment
    for name in config.gene_sets:
        restrict(load_source(name), list(cells.symbols), min_size=config.min_size, max_size=config.max_size)


def cells_fingerprint(cells: Cells) -> str:
    """Return a sha256 of counts, genes, metadata and embeddings."""
    digest = hashlib.sha256()
    for array in (cells.counts.indptr, cells.counts.indices, cells.counts.data):
        digest.update(np.ascontiguousarray(array).data)
    for table in (cells.genes, cells.obs):
        digest.update(json.dumps([*map(str, table.columns)]).encode())
        digest.update(pd.util.hash_pandas_object(table.astype(str), index=True).to_numpy().data)
    for key in sorted(cells.obsm):
        digest.update(key.encode())
        digest.update(np.ascontiguousarray(cells.obsm[key]).data)
    return digest.hexdigest()


def open_explained(run: Run) -> Cells:
    """Return the cells as the model reads them, memory-mapped."""
    from cellglass.cells import open_cells

    return open_cells(run.path(EXPLAINED))


# -- model -----------------------------------------------------------------------------------------------------------


def model_settings(run: Run) -> Any:
    """Return what the model is: how it is fitted, or the sha256 of the one that was brought."""
    config = run.config
    brought = run.inputs.get("model")
    if brought is not None:
        return {"fingerprint": brought.fingerprint()}
    path = config.model.path
    if path is None:
        _check_site(run)
        fitted = {key: getattr(config.model, key) for key in ("genes", "latent", "hidden", "layers", "epochs")}
        return {"fit": fitted, "batch": config.cells.batch, "seed": config.seed}
    if path.startswith(EMBEDDING):
        return {"embedding": path}
    from cellglass import models

    return {"fingerprint": models.load(Path(path)).fingerprint()}


def _check_site(run: Run) -> None:
    """Refuse a site that the scVI to be fitted will not have."""
    from cellglass.models.scvi import sites_of

    config = run.config.model
    known = sites_of(config.latent, config.hidden, config.layers)
    if config.site is not None and config.site not in known:
        raise InputError(f"the scvi model has no site {config.site!r}; its sites are: {', '.join(known)}")


def make_model(run: Run) -> None:
    """Fit scVI, or take the model that was brought; write it, and the cells in its genes."""
    from cellglass.cells import open_cells

    cells = open_cells(run.path(CELLS))
    brought = run.inputs.get("model")
    path = run.config.model.path
    if brought is not None:
        model = brought
        _write_aligned(run, cells, model.genes)
    elif path is None:
        model = _fit_scvi(run, cells)
    elif path.startswith(EMBEDDING):
        from cellglass.models.embedding import EmbeddingModel

        _write_aligned(run, cells, cells.genes.index)
        model = EmbeddingModel.of(cells, [path.removeprefix(EMBEDDING)])
    else:
        from cellglass import models

        model = models.load(Path(path))
        _write_aligned(run, cells, model.genes)
    site_name(run, model)
    model.save(run.path(MODEL))


def _fit_scvi(run: Run, cells: Cells) -> CellModel:
    from cellglass.cells import variable_genes
    from cellglass.models import scvi

    config, batch = run.config.model, run.config.cells.batch
    chosen = variable_genes(cells, config.genes, seed=derive(run.config.seed, "genes"), batch=batch)
    _write_aligned(run, cells, cells.genes.index[chosen])
    checkpoint = run.unit_folder("model")
    checkpoint.mkdir(parents=True, exist_ok=True)
    with threads(1):
        return scvi.fit(
            open_explained(run),
            n_latent=config.latent,
            n_hidden=config.hidden,
            n_layers=config.layers,
            epochs=config.epochs,
            batch=batch,
            seed=derive(run.config.seed, "scvi"),
            checkpoint=checkpoint / "checkpoint",
            progress=run.progress,
        )


def _write_aligned(run: Run, cells: Cells, genes: pd.Index[Any]) -> None:
    """Write the cells with exactly these genes, block by block, without cells that count none of them."""
    from cellglass.cells import align_genes, write_blocks

    step, left_out = 4096, 0

    def blocks() -> Iterator[Cells]:
        nonlocal left_out
        for start in range(0, cells.n_cells, step):
            block = align_genes(cells[start : start + step], genes)
            counted = np.diff(block.counts.indptr) > 0
            left_out += int((~counted).sum())
            if counted.any():
                yield block if counted.all() else block[counted]

    write_blocks(blocks(), run.path(EXPLAINED), entries=cells.counts.nnz)
    if left_out:
        log.warning("%s: left out %d cells that count none of the model's %d genes", cells.source, left_out, len(genes))


def open_model(run: Run) -> CellModel:
    """Return the model of this run."""
    from cellglass import models

    return models.load(run.path(MODEL))


def site_name(run: Run, model: CellModel) -> str:
    """Return the site that is explained: the one asked for, or the first of the model."""
    wanted = run.config.model.site
    return model.site(wanted).name if wanted else next(iter(model.sites))


# -- activations and layout ------------------------------------------------------------------------------------------


def make_activations(run: Run) -> None:
    """Capture the site's activations, with the posterior's spread where the model has one."""
    from cellglass.activations import capture

    model = open_model(run)
    partial = run.unit_folder("activations")  # a killed capture goes on from its last whole shard
    capture(model, open_explained(run), [site_name(run, model)], partial, progress=run.progress)
    with atomic_path(run.path(ACTIVATIONS)) as temporary:
        partial.rename(temporary)


def open_activations(run: Run) -> tuple[Store, str]:
    """Return the store of activations and the name of its one site."""
    from cellglass.activations import open_store

    store = open_store(run.path(ACTIVATIONS))
    return store, next(iter(store.sites))


def make_layout(run: Run) -> None:
    """Draw the cells in two dimensions: UMAP of the site (McInnes et al. 2018), as scanpy runs it."""
    import warnings

    import scanpy as sc
    from anndata import AnnData

    store, site = open_activations(run)
    rows = np.arange(store.n_rows(site))
    matrix = store.read(site, rows).numpy()
    if len(rows) < 4:
        raise InputError(f"there are only {len(rows)} cells; a layout needs at least 4")
    drawn = AnnData(X=np.zeros((len(rows), 0), dtype=np.float32), obsm={"site": matrix})
    state = derive(run.config.seed, "layout") % 2**31
    with warnings.catch_warnings(), threads(1):
        warnings.simplefilter("ignore")  # umap and numba warn of their own settings
        sc.pp.neighbors(drawn, n_neighbors=min(15, len(rows) - 1), use_rep="site", random_state=state)
        sc.tl.umap(drawn, random_state=state)
    with atomic_path(run.path(LAYOUT)) as temporary, temporary.open("wb") as file:
        np.save(file, drawn.obsm["X_umap"].astype(np.float32), allow_pickle=False)

"""The first stages: cells onto disk, and the model that explains them, fitted or loaded.

Each ends in a folder under ``work/``, from which later stages read; nothing is held in memory between stages.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cellglass.errors import InputError
from cellglass.files import atomic_path, sha256
from cellglass.models import registry
from cellglass.models.kind import FitConfig, Fitting
from cellglass.pipeline.runner import Run
from cellglass.seeds import derive
from cellglass.threads import threads

if TYPE_CHECKING:
    from cellglass.cells import Cells
    from cellglass.models.base import CellModel

log = logging.getLogger(__name__)

CELLS = "work/cells"
EXPLAINED = "work/explained"
MODEL = "work/model"
COVERAGE = "work/coverage.json"

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
    if path.startswith(EMBEDDING):
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
    if path in registry.KINDS:
        kind, fit = registry.kind_to_fit(path), fit_config(run)
        kind.check_fit(fit, config.model.site)
        assert kind.fitting is not None, "kind_to_fit looked"  # noqa: S101
        asked = {name: getattr(fit, name) for name in (*kind.fitting.defaults, "batch")}
        return {"fit": path, **asked, "seed": config.seed}
    if path.startswith(EMBEDDING):
        return {"embedding": path}
    return {"fingerprint": _saved(path).fingerprint()}


def _saved(path: str) -> CellModel:
    """Return the model in a folder; InputError names the kinds too, since a kind may have been meant."""
    from cellglass import models

    if not Path(path).exists():
        raise InputError(
            f"there is no folder {path} with a model; give one, {EMBEDDING}KEY for an embedding, or a kind to fit: "
            f"{', '.join(registry.fittable())}"
        )
    return models.load(Path(path))


def fit_config(run: Run) -> FitConfig:
    """Return how the model is fitted, as far as the run says it."""
    config = run.config.model
    return FitConfig(
        layers=config.layers,
        width=config.width,
        epochs=config.epochs,
        genes=config.genes,
        latent=config.latent,
        batch=run.config.cells.batch,
        seed=derive(run.config.seed, config.path),
    )


def make_model(run: Run) -> None:
    """Fit a model, or take the one that was brought; write it, and the cells in its genes."""
    from cellglass.cells import open_cells

    cells = open_cells(run.path(CELLS))
    brought, path = run.inputs.get("model"), run.config.model.path
    if brought is None and path in registry.KINDS and "genes" in _fitting(path).defaults:
        model = _fit_to_variable_genes(run, cells)
    else:
        given = brought or _model_of(run, cells)
        model = given.for_cells(cells)
        _write_aligned(run, cells, model)
        _note_coverage(run, cells, given if len(given.genes) else model)
    site_name(run, model)
    model.save(run.path(MODEL))


def _note_coverage(run: Run, cells: Cells, model: CellModel) -> None:
    """Write how the genes of the cells meet the model's, where the model counts them."""
    from cellglass.models import TransformerModel

    covered = model.cover(cells) if isinstance(model, TransformerModel) else None
    if covered is not None:
        with atomic_path(run.path(COVERAGE)) as temporary:
            temporary.write_text(json.dumps(covered._asdict()))


def open_coverage(run: Run) -> dict[str, dict[str, int]]:
    """Return how many genes of the model were found and missing, and how many of the cells' it does not know."""
    path = run.path(COVERAGE)
    return {"coverage": json.loads(path.read_text())} if path.exists() else {}


def _model_of(run: Run, cells: Cells) -> CellModel:
    """Return the transformer fitted to the cells, the embedding, or the model that was saved."""
    from cellglass.models import EmbeddingModel

    config = run.config.model
    if config.path in registry.KINDS:
        return _fit(run, cells)
    if config.path.startswith(EMBEDDING):
        return EmbeddingModel.of(cells, [config.path.removeprefix(EMBEDDING)])
    return _saved(config.path)


def _checkpoint(run: Run) -> Path:
    folder = run.unit_folder("model")
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "checkpoint"


def _fitting(path: str) -> Fitting:
    fitting = registry.kind_to_fit(path).fitting
    assert fitting is not None, "kind_to_fit looked"  # noqa: S101
    return fitting


def _fit(run: Run, cells: Cells) -> CellModel:
    path = run.config.model.path
    config = replace(fit_config(run), checkpoint=_checkpoint(run), progress=run.progress)
    with threads(1) if _fitting(path).one_thread else nullcontext():
        return registry.fit(path, cells, config)


def _fit_to_variable_genes(run: Run, cells: Cells) -> CellModel:
    """Fit a kind that reads some highly variable genes, to the cells as written with those."""
    from cellglass.cells import variable_genes

    config = run.config.model
    most = config.genes or _fitting(config.path).defaults["genes"] or cells.n_genes
    seed = derive(run.config.seed, "genes")
    chosen = variable_genes(cells, most, seed=seed, batch=run.config.cells.batch)
    _write_aligned(run, cells, cells.genes.index[chosen])
    return _fit(run, open_explained(run))


def _write_aligned(run: Run, cells: Cells, to: CellModel | pd.Index[Any]) -> None:
    """Write the cells with the genes of a model, or with these, block by block, without cells that count none."""
    from cellglass.cells import align_genes, write_blocks

    step, left_out = 4096, 0

    def aligned(block: Cells) -> Cells:
        return align_genes(block, to) if isinstance(to, pd.Index) else to.align(block)

    def blocks() -> Iterator[Cells]:
        nonlocal left_out
        for start in range(0, cells.n_cells, step):
            block = aligned(cells[start : start + step])
            counted = np.diff(block.counts.indptr) > 0
            left_out += int((~counted).sum())
            if counted.any():
                yield block if counted.all() else block[counted]

    write_blocks(blocks(), run.path(EXPLAINED), entries=cells.counts.nnz)
    if left_out:
        log.warning("%s: left out %d cells that count none of the model's genes", cells.source, left_out)


def open_model(run: Run) -> CellModel:
    """Return the model of this run; a transformer on a GPU where there is one."""
    from cellglass import models

    brought = run.inputs.get("model")
    if brought is not None and not models.is_read_back(brought.kind):
        return brought.for_cells(open_explained(run))  # type: ignore[no-any-return]  # its code is with the caller alone
    model = models.load(run.path(MODEL))
    if isinstance(model, models.TransformerModel):
        import torch

        model.to("cuda" if torch.cuda.is_available() else "cpu")
    return model


def site_name(run: Run, model: CellModel) -> str:
    """Return the site that is explained: the one asked for, or the first of the model."""
    wanted = run.config.model.site
    return model.site(wanted).name if wanted else next(iter(model.sites))

"""From a model and cells to an atlas: the list of stages, and the two ways to start them."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellglass.errors import InputError
from cellglass.pipeline.config import RunConfig, make_config, merge
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.stages.activations import ActivationsStage
from cellglass.pipeline.stages.atlas import AtlasStage
from cellglass.pipeline.stages.cells import CellsStage
from cellglass.pipeline.stages.codes import CodesStage
from cellglass.pipeline.stages.dictionaries import DictionariesStage
from cellglass.pipeline.stages.evaluation import EvaluationStage
from cellglass.pipeline.stages.genes import GenesStage
from cellglass.pipeline.stages.layout import LayoutStage
from cellglass.pipeline.stages.model import ModelStage, needs_counts
from cellglass.pipeline.stages.pathways import PathwaysStage
from cellglass.pipeline.stages.report import ReportStage
from cellglass.pipeline.stages.reproducibility import ReproducibilityStage
from cellglass.pipeline.workspace import CELLS, EXPLAINED
from cellglass.progress import Progress, silent

if TYPE_CHECKING:
    from cellglass.atlas import Atlas
    from cellglass.cells import Cells
    from cellglass.cells.cells import CellsLike
    from cellglass.models.base import CellModel


STAGES: tuple[type[Stage], ...] = (
    CellsStage,
    ModelStage,
    ActivationsStage,
    LayoutStage,
    DictionariesStage,
    CodesStage,
    ReproducibilityStage,
    GenesStage,
    PathwaysStage,
    EvaluationStage,
    AtlasStage,
)


def run_pipeline(
    cells: Path | Cells | None,
    config: RunConfig,
    out: Path | str,
    *,
    model: CellModel | None = None,
    report: bool = True,
    progress: Progress = silent,
) -> Atlas:
    """Make an atlas, or go on with one, and open it.

    Parameters
    ----------
    cells
        A file, cells in memory, or None for the bundled demo cells.
    config
        Everything that the run is told.
    out
        The folder of the atlas. A run that was stopped goes on; a stage whose inputs did not change is passed over.
    model
        A model in memory; without one `config.model` says which.
    report
        Write ``report.html`` too.
    progress
        Told how far each stage is.
    """
    from cellglass.atlas import open_atlas
    from cellglass.cells import Cells
    from cellglass.cells.obs import safe_columns, tidy_obs
    from cellglass.explorer.report import frame

    if report:
        frame(title="")  # a page that is not built is told now, not after everything else
    config = config.with_safe_columns()
    if isinstance(cells, Cells):
        cells = replace(cells, obs=safe_columns(tidy_obs(cells.obs, cells.source), cells.source, config.columns))
    run = Run(Path(out), config, {"cells": cells, "model": model}, progress)
    run_stages(run, [*STAGES, ReportStage] if report else STAGES)
    if not config.cells.keep_counts:
        for folder in (CELLS, EXPLAINED):
            shutil.rmtree(run.path(folder), ignore_errors=True)
    return open_atlas(run.folder)


def add_methods(
    folder: Path | str, methods: Sequence[str], *, report: bool = True, progress: Progress = silent
) -> Atlas:
    """Add methods of attribution to an atlas that is there, without its cells' file.

    Rows that other methods found stay; pathways, evaluation, names and report follow from what is new.

    Parameters
    ----------
    folder
        The atlas, with what a run keeps below ``work/``.
    methods
        Such as ``shapley``.
    report
        Write ``report.html`` anew.
    progress
        Told how far each stage is.

    Raises
    ------
    InputError
        If there is no such method, no finished atlas, or no counts in it.
    """
    from cellglass.atlas import open_atlas
    from cellglass.atlas.manifest import read_manifest
    from cellglass.attribution.registry import METHODS

    for name in methods:
        METHODS.check(name, "--method")
    path = Path(folder)
    config = make_config(read_manifest(path)["config"], where=str(path / "manifest.json"))
    every = tuple(dict.fromkeys((*config.attribution.methods, *methods)))
    config = replace(config, attribution=replace(config.attribution, methods=every))
    first = STAGES.index(GenesStage)
    for kept in (CELLS, EXPLAINED):
        if not (path / kept).exists():
            raise InputError(
                f"{path / kept} is gone, so there are no counts to change; make the atlas with --keep-counts"
            )
    run = Run(path, config, {"cells": None, "model": None}, progress)
    run_stages(run, [*STAGES[first:], *([ReportStage] if report else [])], after=STAGES[:first])
    return open_atlas(path)


def explain(
    cells: CellsLike | Path | str,
    model: CellModel | None = None,
    *,
    out: Path | str,
    config: RunConfig | None = None,
    report: bool = True,
    progress: Progress = silent,
    labels: Sequence[str] = (),
    match: Sequence[str] = (),
    gene_sets: Sequence[str] = (),
    seed: int | None = None,
    **tables: dict[str, Any],
) -> Atlas:
    """Find the concepts that a model computes with, the genes behind them and what those mean.

    Parameters
    ----------
    cells : AnnData, Cells or path
        Cells with raw counts.
    model : CellModel, optional
        Such as ``cellglass.models.scvi.fit(adata)`` or ``cellglass.models.load(folder)``; by default what `config`
        says, or scVI, fitted to the cells.
    out : path
        Folder of the atlas. The same call resumes one that was stopped.
    config : RunConfig, optional
        All settings; what follows is put on top of it.
    report : bool
        Write ``report.html`` beside the atlas.
    progress : Progress
        Told how far each stage is.
    labels : sequence of str
        Columns of obs (such as cell type) to compare concepts with. A fit of scVI reads the genes that mark their
        values among others; concepts are found without them.
    match : sequence of str
        Columns of obs in which the partner of a counterfactual must equal its prototype.
    gene_sets : sequence of str
        Named sources (``bundled``, ``hallmark``, ``reactome``, ``go-bp``) and GMT files, or ``none``; by default
        ``bundled``, as far as it fits the genes.
    seed : int, optional
        Random seed; by default 0.
    **tables : dict
        Further settings by table, as in the TOML file: ``dictionary={"latents": 256}``.

    Returns
    -------
    Atlas

    Raises
    ------
    InputError
        If something cannot be done with what is given: it names the thing, the place and the way out.

    Examples
    --------
    >>> adata = anndata.read_h5ad("my.h5ad")  # doctest: +SKIP
    >>> model = cellglass.models.scvi.fit(adata, batch="donor")  # doctest: +SKIP
    >>> atlas = cellglass.explain(adata, model, out="atlas/", labels=["celltype"])  # doctest: +SKIP
    """
    from cellglass.cells import Cells, cells_from_anndata
    from cellglass.models.base import CellModel

    if isinstance(cells, CellModel):
        raise InputError("explain takes the cells first, then the model: cellglass.explain(cells, model, out=...)")
    if model is not None and not isinstance(model, CellModel):
        raise InputError(
            f"the model is a {type(model).__name__}; give one that cellglass.models loads or fits, or leave it out and "
            "say which with config=make_config({'model': ...})"
        )
    given = {
        "seed": seed,
        "cells": {"labels": list(labels)},
        "attribution": {"match": list(match)},
        "enrichment": {"gene_sets": list(gene_sets)},
    }
    whole = make_config(merge(merge(config.as_dict() if config else {}, tables), given), where="explain")
    source: Path | Cells
    if isinstance(cells, str | Path):
        source = Path(cells)
    elif isinstance(cells, Cells):
        source = cells
    else:
        read = whole.cells
        source = cells_from_anndata(
            cells,
            counts=read.counts,
            gene_ids=read.gene_ids,
            round_counts=read.round,
            need_counts=needs_counts(whole.model.path, model),
            columns=whole.with_safe_columns().columns,
            safe_names=True,
        )
    return run_pipeline(source, whole, out, model=model, report=report, progress=progress)

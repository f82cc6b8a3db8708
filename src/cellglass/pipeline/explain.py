"""From a model and cells to an atlas: the list of stages, and the two ways to start them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellglass.errors import InputError
from cellglass.pipeline.config import RunConfig, make_config
from cellglass.pipeline.run import Run
from cellglass.pipeline.runner import run_stages
from cellglass.pipeline.stage import Stage
from cellglass.pipeline.stages.activations import ActivationsStage
from cellglass.pipeline.stages.atlas import AtlasStage
from cellglass.pipeline.stages.cells import CellsStage
from cellglass.pipeline.stages.codes import CodesStage
from cellglass.pipeline.stages.consensus import ConsensusStage
from cellglass.pipeline.stages.dictionaries import DictionariesStage
from cellglass.pipeline.stages.evaluation import EvaluationStage
from cellglass.pipeline.stages.genes import GenesStage
from cellglass.pipeline.stages.layout import LayoutStage
from cellglass.pipeline.stages.model import ModelStage
from cellglass.pipeline.stages.pathways import PathwaysStage
from cellglass.pipeline.stages.report import ReportStage
from cellglass.progress import Progress, silent

if TYPE_CHECKING:
    from cellglass.atlas import Atlas
    from cellglass.cells import Cells
    from cellglass.models.base import CellModel


STAGES: tuple[type[Stage], ...] = (
    CellsStage,
    ModelStage,
    ActivationsStage,
    LayoutStage,
    DictionariesStage,
    CodesStage,
    GenesStage,
    PathwaysStage,
    EvaluationStage,
    ConsensusStage,
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
        Hears how far each stage is.
    """
    from cellglass.atlas import open_atlas

    run = Run(Path(out), config, {"cells": cells, "model": model}, progress)
    run_stages(run, [*STAGES, ReportStage] if report else STAGES)
    return open_atlas(run.folder)


def explain(
    model: CellModel | None,
    cells: Cells,
    *,
    out: Path | str,
    labels: Sequence[str] = (),
    match: Sequence[str] = (),
    gene_sets: Sequence[str] = ("bundled",),
    seed: int = 0,
    report: bool = True,
    progress: Progress = silent,
    **tables: dict[str, Any],
) -> Atlas:
    """Find the concepts that a model computes with, the genes behind them and what those mean.

    Parameters
    ----------
    model : CellModel or None
        Such as ``cellglass.models.scvi.fit(cells)`` or ``cellglass.models.load(folder)``; None fits scVI to the cells.
    cells : Cells
        Such as ``cellglass.read_cells("my.h5ad")``; from an AnnData, ``cellglass.cells_from_anndata(adata)``.
    out : path
        Folder of the atlas. The same call goes on where a stopped one was.
    labels : sequence of str
        Columns of obs that the concepts are held against; never used to find them.
    match : sequence of str
        Columns of obs in which the partner of a counterfactual must equal its prototype.
    gene_sets : sequence of str
        Named sources (``bundled``, ``hallmark``, ``reactome``, ``go-bp``) and GMT files.
    seed : int
        The one seed of all randomness.
    report : bool
        Write ``report.html`` beside the atlas.
    progress : Progress
        Hears how far each stage is.
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
    >>> cells = cellglass.read_cells("my.h5ad")  # doctest: +SKIP
    >>> model = cellglass.models.scvi.fit(cells, batch="donor")  # doctest: +SKIP
    >>> atlas = cellglass.explain(model, cells, out="atlas/", labels=["celltype"])  # doctest: +SKIP
    """
    from cellglass.pipeline.config import merge

    if isinstance(cells, str | Path):
        raise InputError("explain takes cells, not a path; read them first: cellglass.read_cells(path)")
    given = {
        "seed": seed,
        "cells": {"labels": list(labels)},
        "attribution": {"match": list(match)},
        "enrichment": {"gene_sets": list(gene_sets)},
    }
    config = make_config(merge(tables, given), where="explain")
    return run_pipeline(cells, config, out, model=model, report=report, progress=progress)

"""From a model and cells to an atlas: the list of stages, and the two ways to start them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cellglass.errors import InputError
from cellglass.pipeline.config import RunConfig, make_config
from cellglass.pipeline.runner import Run, Stage, run_stages
from cellglass.pipeline.stages import (
    activations as activate,
)
from cellglass.pipeline.stages import (
    atlas as finish,
)
from cellglass.pipeline.stages import (
    dictionaries as learn,
)
from cellglass.pipeline.stages import (
    genes as interpret,
)
from cellglass.pipeline.stages import (
    model as prepare,
)
from cellglass.pipeline.stages import (
    tokens,
)
from cellglass.progress import Progress, silent

if TYPE_CHECKING:
    from cellglass.atlas import Atlas
    from cellglass.cells import Cells
    from cellglass.models.base import CellModel


def _table(name: str, *, seeded: bool = True) -> Any:
    """Return a function that gives one table of the settings, with the seed where the stage draws."""

    def settings(run: Run) -> Any:
        table = dataclasses.asdict(getattr(run.config, name))
        return {**table, "seed": run.config.seed} if seeded else table

    return settings


STAGES: tuple[Stage, ...] = (
    Stage("cells", "read the cells", prepare.make_cells, (prepare.CELLS,), (), prepare.cells_settings, quick=True),
    Stage(
        "model", "fit or load the model", prepare.make_model, (prepare.EXPLAINED, prepare.MODEL), ("cells",),
        prepare.model_settings, optional=(prepare.COVERAGE,),
    ),
    Stage(
        "activations", "run the cells through the model", activate.make_activations, (activate.ACTIVATIONS,),
        ("model",), activate.activation_settings,
    ),
    Stage(
        "layout", "draw the cells", activate.make_layout, (activate.LAYOUT,), ("activations",),
        lambda run: {"seed": run.config.seed},
    ),
    Stage(
        "dictionaries", "train the dictionaries", learn.make_dictionaries, (learn.DICTIONARIES,), ("activations",),
        _table("dictionary"), revision=2,
    ),
    Stage(
        "codes", "encode the cells", learn.make_codes, (learn.CODES,), ("model", "activations", "dictionaries"),
        optional=(tokens.TOKENS,),
    ),
    Stage(
        "genes", "find the genes behind each concept", interpret.make_genes,
        ("genes.parquet", interpret.PAIRS, interpret.ATTRIBUTION), ("model", "activations", "dictionaries", "codes"),
        _table("attribution"),
    ),
    Stage(
        "pathways", "test what the genes mean", interpret.make_pathways, ("pathways.parquet", interpret.RATES),
        ("model", "genes"), interpret.pathway_settings,
    ),
    Stage(
        "evaluation", "measure how good it is", finish.make_evaluation, ("evaluation.json",),
        ("model", "activations", "dictionaries", "genes", "pathways"), finish.atlas_settings, revision=3,
    ),
    Stage(
        "consensus", "look for the concepts in the other seeds", finish.make_consensus, (finish.CONSENSUS,),
        ("activations", "dictionaries"), finish.consensus_settings,
    ),
    Stage(
        "atlas", "name the concepts", finish.make_atlas, ("concepts.zarr", "expression.zarr"),
        ("model", "activations", "layout", "codes", "genes", "pathways", "consensus"), finish.atlas_settings,
        revision=2, optional=("tokens.parquet",),
    ),
)  # fmt: skip

REPORT = Stage(
    "report", "write the report", finish.make_report, ("report.html",),
    ("dictionaries", "genes", "pathways", "evaluation", "atlas"), revision=2,
)  # fmt: skip


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
    from cellglass.explorer.report import frame

    if report:
        frame(title="")  # a page that is not built is told now, not after everything else
    run = Run(Path(out), config, {"cells": cells, "model": model}, progress)
    run_stages(run, [*STAGES, REPORT] if report else STAGES)
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

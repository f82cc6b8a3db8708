"""What would stop a run late is looked for as soon as the cells are read: how many there are, and their columns."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from cellglass.enrichment.genesets import name_of
from cellglass.errors import InputError

if TYPE_CHECKING:
    from cellglass.cells import Cells
    from cellglass.pipeline.config import RunConfig

log = logging.getLogger(__name__)

FEWEST = 30
"""Fewer cells are refused. Measured with scVI on draws of blood cells, two draws a size: variance explained on held-out
cells is undefined at 10 cells, 0.20 and 0.40 at 20 (random directions: below 0 and 0.28), 0.56 and 0.78 at 30 (0.39 and
0.46), 0.88 and 0.93 at 50 (0.47 and 0.51), 0.93 to 0.97 from 75 on; at 10 cells as many concepts come back in other
seeds as by chance."""

FEW = 100
"""Below this a run goes on with a warning: a tenth of the cells, on which all is measured, is fewer than ten."""


def check_cells(cells: Cells, config: RunConfig) -> None:
    """Refuse cells that no dictionary can be fitted to, and columns that no later stage can use.

    Raises
    ------
    InputError
        If there are too few cells, two sources of gene sets have one name, a label column has fewer than two values
        with enough cells, or a batch or match column has missing values or, of a batch, a value for each cell.
    """
    from cellglass.evaluation.labels import encode_labels

    if cells.n_cells < FEWEST:
        raise InputError(
            f"{cells.source}: there are {cells.n_cells} cells, and a dictionary needs at least {FEWEST}; on fewer, "
            "what it finds is no better than chance: bring more cells"
        )
    if cells.n_cells < FEW:
        log.warning(
            "%s: %d cells are few; metrics are measured on %d held-out ones, and concepts may not come back in others",
            cells.source, cells.n_cells, max(1, cells.n_cells // 10),
        )  # fmt: skip
    _check_names(config.enrichment.gene_sets or ())
    for name in config.cells.labels:
        encode_labels(cells.column(name))
    for name in config.attribution.match:
        _check_known(cells, name, "attribution.match")
    if config.cells.batch is not None:
        _check_known(cells, config.cells.batch, "cells.batch")
        values = cells.column(config.cells.batch).nunique()
        if 2 * values > cells.n_cells:
            raise InputError(
                f"{cells.source}: obs column {config.cells.batch!r} has {values} values for {cells.n_cells} cells, so "
                "it is no batch; name the column of donors or samples"
            )


def _check_names(gene_sets: Sequence[str]) -> None:
    names = [name_of(source) for source in gene_sets]
    for name, source in zip(names, gene_sets, strict=True):
        if names.count(name) > 1:
            raise InputError(
                f"gene sets {source}: two sources are called {name!r}, and tables tell them by that name; rename one"
            )


def _check_known(cells: Cells, name: str, option: str) -> None:
    missing = int(cells.column(name).isna().sum())
    if missing:
        raise InputError(
            f"{cells.source}: obs column {name!r} ({option}) has {missing} missing values; fill them in, or remove "
            "those cells"
        )

"""Geneformer as a kind of model: how its folders are told, its sites, its fit. Imports no network."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from cellglass.models.kind import FitConfig, Fitting, ModelKind
from cellglass.models.transformer.small import DEFAULTS, HEADS, site_names
from cellglass.vocabulary import TITLES

if TYPE_CHECKING:
    from cellglass.cells import Cells
    from cellglass.models.base import CellModel

CELL_SITES = ("cell", "cell.last")


def _load(folder: Path) -> CellModel:
    from cellglass.models.geneformer.model import load

    return load(folder)


def _fit(cells: Cells, config: FitConfig) -> CellModel:
    from cellglass.models.geneformer.model import fit

    return fit(cells, heads=HEADS, **config.options("layers", "width", "epochs", "seed", "checkpoint", "progress"))


ENTRY = ModelKind(
    name="geneformer",
    title=TITLES["geneformer"],
    load=_load,
    transformers_types=("bert",),
    fitting=Fitting(_fit, partial(site_names, CELL_SITES), DEFAULTS),
)

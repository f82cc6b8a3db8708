"""scGPT as a kind of model: how its folders are told, its sites, its fit. Imports no network."""

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

CELL_SITES = ("cell", "cell.raw")


def _load(folder: Path) -> CellModel:
    from cellglass.models.scgpt.model import load

    return load(folder)


def _fit(cells: Cells, config: FitConfig) -> CellModel:
    from cellglass.models.scgpt.model import fit

    return fit(cells, heads=HEADS, **config.options("layers", "width", "epochs", "seed", "checkpoint", "progress"))


def _recognises(folder: Path) -> bool:
    """Say whether arguments or a vocabulary lie beside weights; a config.json is of transformers."""
    beside = [(folder / name).exists() for name in ("args.json", "vocab.json")]
    return all(beside) or (any(beside) and not (folder / "config.json").exists() and any(folder.glob("*.pt")))


ENTRY = ModelKind(
    name="scgpt",
    title=TITLES["scgpt"],
    load=_load,
    recognises=_recognises,
    takes_file=True,
    fitting=Fitting(_fit, partial(site_names, CELL_SITES), DEFAULTS),
)

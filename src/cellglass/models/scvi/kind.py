"""scVI as a kind of model: how its folders are told, its sites, how it is fitted. Imports no network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cellglass.models.kind import FitConfig, Fitting, ModelKind
from cellglass.vocabulary import TITLES

if TYPE_CHECKING:
    from cellglass.cells import Cells
    from cellglass.models.base import CellModel

DEFAULTS = {"genes": 3000, "latent": 20, "width": 128, "layers": 1, "epochs": 100}


def _load(folder: Path) -> CellModel:
    from cellglass.models.scvi.model import load

    return load(folder)


def _sites(config: FitConfig) -> list[str]:
    from cellglass.models.scvi.model import sites_of

    sizes = {**DEFAULTS, **config.options(*DEFAULTS)}
    return list(sites_of(sizes["latent"], sizes["width"], sizes["layers"]))


def _fit(cells: Cells, config: FitConfig) -> CellModel:
    from cellglass.models.scvi.model import fit

    sizes = config.options(n_latent="latent", n_hidden="width", n_layers="layers")
    return fit(cells, **sizes, **config.options("epochs", "batch", "seed", "checkpoint", "progress"))


def _recognises(folder: Path) -> bool:
    """Say whether scvi-tools saved something there; a model.pt beside a vocabulary is a fine-tuned scGPT's."""
    if any((folder / name).exists() for name in ("args.json", "vocab.json", "config.json")):
        return False
    return any(folder.glob("*model.pt")) or any(folder.glob("*model_params.pt"))


ENTRY = ModelKind(
    name="scvi",
    title=TITLES["scvi"],
    load=_load,
    recognises=_recognises,
    takes_file=True,
    fitting=Fitting(_fit, _sites, DEFAULTS, takes_batch=True, one_thread=True),
)

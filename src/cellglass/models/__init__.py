"""models: one file for each foundation model; each turns raw counts into activations at named sites."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellglass.models import embedding as embedding
    from cellglass.models import scvi as scvi
    from cellglass.models.base import CellModel as CellModel
    from cellglass.models.base import LinearFront as LinearFront
    from cellglass.models.base import Site as Site
    from cellglass.models.embedding import EmbeddingModel as EmbeddingModel
    from cellglass.models.scvi import ScviModel as ScviModel

__all__ = ["CellModel", "EmbeddingModel", "LinearFront", "ScviModel", "Site", "embedding", "load", "scvi"]

_WHERE = {
    "CellModel": "base",
    "LinearFront": "base",
    "Site": "base",
    "EmbeddingModel": "embedding",
    "ScviModel": "scvi",
}
_MODULES = ("embedding", "scvi")
_KINDS = {"embedding": "EmbeddingModel", "scvi": "ScviModel"}


def load(path: Path | str) -> CellModel:
    """Read a saved model: a folder that cellglass wrote, or one that scvi-tools' ``SCVI.save`` wrote.

    Parameters
    ----------
    path : Path or str
        The folder.

    Raises
    ------
    InputError
        If there is no such folder, no model in it, a damaged one, or one that holds more than weights and arrays.
    """
    from cellglass.errors import InputError

    folder = Path(path)
    if not folder.exists():
        raise InputError(f"there is no folder {folder}; give the folder of a saved model")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; give the folder that holds the model")
    if (folder / "model.pt").exists():
        kind = "scvi"
    else:
        from cellglass.models.store import read_cfg

        kind = read_cfg(folder)["kind"]
    if kind not in _KINDS:
        raise InputError(f"{folder} holds a model of kind {kind!r}; this version reads: {', '.join(_KINDS)}")
    model: CellModel = __getattr__(_KINDS[kind]).load(folder)
    return model


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _MODULES:
        return import_module(f"cellglass.models.{name}")
    if name in _WHERE:
        return getattr(import_module(f"cellglass.models.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""models: one file for each foundation model; each turns raw counts into activations at named sites."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cellglass.models import cell2sentence as cell2sentence
    from cellglass.models import embedding as embedding
    from cellglass.models import geneformer as geneformer
    from cellglass.models import module as module
    from cellglass.models import scgpt as scgpt
    from cellglass.models import scvi as scvi
    from cellglass.models.base import CellModel as CellModel
    from cellglass.models.base import LinearFront as LinearFront
    from cellglass.models.base import Site as Site
    from cellglass.models.base import TokenRows as TokenRows
    from cellglass.models.cell2sentence import Cell2SentenceModel as Cell2SentenceModel
    from cellglass.models.embedding import EmbeddingModel as EmbeddingModel
    from cellglass.models.geneformer import GeneformerModel as GeneformerModel
    from cellglass.models.hooks import Point as Point
    from cellglass.models.module import ModuleModel as ModuleModel
    from cellglass.models.scgpt import ScgptModel as ScgptModel
    from cellglass.models.scvi import ScviModel as ScviModel
    from cellglass.models.tokens import TokenLists as TokenLists
    from cellglass.models.transformer import CellSite as CellSite
    from cellglass.models.transformer import TransformerModel as TransformerModel

_WHERE = {
    "CellModel": "base",
    "LinearFront": "base",
    "Site": "base",
    "TokenRows": "base",
    "Cell2SentenceModel": "cell2sentence",
    "EmbeddingModel": "embedding",
    "ModuleModel": "module",
    "GeneformerModel": "geneformer",
    "Point": "hooks",
    "ScgptModel": "scgpt",
    "ScviModel": "scvi",
    "TokenLists": "tokens",
    "CellSite": "transformer",
    "TransformerModel": "transformer",
}
_KINDS = {
    "cell2sentence": "Cell2SentenceModel",
    "embedding": "EmbeddingModel",
    "geneformer": "GeneformerModel",
    "module": "ModuleModel",
    "scgpt": "ScgptModel",
    "scvi": "ScviModel",
}

__all__ = [
    "Cell2SentenceModel",
    "CellModel",
    "CellSite",
    "EmbeddingModel",
    "GeneformerModel",
    "LinearFront",
    "ModuleModel",
    "Point",
    "ScgptModel",
    "ScviModel",
    "Site",
    "TokenLists",
    "TokenRows",
    "TransformerModel",
    "cell2sentence",
    "embedding",
    "geneformer",
    "load",
    "module",
    "scgpt",
    "scvi",
]


def load(path: Path | str) -> CellModel:
    """Read a trained model: a folder that cellglass wrote, or one as its authors publish it.

    Parameters
    ----------
    path : Path or str
        The folder: of cellglass (cfg.json), of scvi-tools' ``SCVI.save`` (model.pt), of scGPT (args.json, vocab.json,
        best_model.pt), of Geneformer (config.json of a BERT) or of Cell2Sentence (config.json of a GPT-NeoX or a
        Gemma 2).

    Raises
    ------
    InputError
        If there is no such folder, no model in it, a damaged one, or one that holds more than weights and arrays.
    """
    from cellglass.errors import InputError
    from cellglass.models.store import kind_of

    folder = Path(path)
    if not folder.exists():
        raise InputError(f"there is no folder {folder}; give the folder of a trained model")
    if not folder.is_dir():
        raise InputError(f"{folder} is a file; give the folder that holds the model")
    kind = kind_of(folder)
    if kind not in _KINDS:
        raise InputError(f"{folder} holds a model of kind {kind!r}; this version reads: {', '.join(_KINDS)}")
    model: CellModel = __getattr__(_KINDS[kind]).load(folder)
    return model


def is_read_back(kind: str) -> bool:
    """Say whether `load` makes a model of this kind from its folder alone, without its author's code."""
    return kind in _KINDS and kind != "module"


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name in _KINDS:
        return import_module(f"cellglass.models.{name}")
    if name in _WHERE:
        return getattr(import_module(f"cellglass.models.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

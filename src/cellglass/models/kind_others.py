"""Kinds of model without a room of their own: an embedding in obsm, a PyTorch module of the user's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cellglass.models.kind import ModelKind
from cellglass.vocabulary import TITLES

if TYPE_CHECKING:
    from cellglass.models.base import CellModel


def _embedding(folder: Path) -> CellModel:
    from cellglass.models.embedding import EmbeddingModel

    return EmbeddingModel.load(folder)


def _module(folder: Path) -> CellModel:
    from cellglass.models.module import ModuleModel

    return ModuleModel.load(folder)


EMBEDDING = ModelKind(name="embedding", title=TITLES["embedding"], load=_embedding)
MODULE = ModelKind(name="module", title=TITLES["module"], load=_module, read_back=False)

"""models: one room for each foundation model; each turns raw counts into activations at named sites.

Each name is imported when it is first used. ``scvi``, ``scgpt``, ``geneformer`` and ``cell2sentence`` each offer
``fit`` and ``load``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.models import cell2sentence, embedding, geneformer, module, scgpt, scvi
    from cellglass.models.base import CellModel, LinearFront, Site, TokenRows
    from cellglass.models.cell2sentence import Cell2SentenceModel
    from cellglass.models.embedding import EmbeddingModel
    from cellglass.models.geneformer import GeneformerModel
    from cellglass.models.module import ModuleModel
    from cellglass.models.registry import is_read_back, load
    from cellglass.models.scgpt import ScgptModel
    from cellglass.models.scvi import ScviModel
    from cellglass.models.transformer.hooks import Point
    from cellglass.models.transformer.model import CellSite, TransformerModel
    from cellglass.models.transformer.tokens import TokenLists

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
    "is_read_back",
    "load",
    "module",
    "scgpt",
    "scvi",
]

_WHERE = {
    "Cell2SentenceModel": "cellglass.models.cell2sentence.model",
    "CellModel": "cellglass.models.base",
    "CellSite": "cellglass.models.transformer.model",
    "EmbeddingModel": "cellglass.models.embedding",
    "GeneformerModel": "cellglass.models.geneformer.model",
    "LinearFront": "cellglass.models.base",
    "ModuleModel": "cellglass.models.module",
    "Point": "cellglass.models.transformer.hooks",
    "ScgptModel": "cellglass.models.scgpt.model",
    "ScviModel": "cellglass.models.scvi.model",
    "Site": "cellglass.models.base",
    "TokenLists": "cellglass.models.transformer.tokens",
    "TokenRows": "cellglass.models.base",
    "TransformerModel": "cellglass.models.transformer.model",
    "is_read_back": "cellglass.models.registry",
    "load": "cellglass.models.registry",
    **{
        name: f"cellglass.models.{name}"
        for name in ("cell2sentence", "embedding", "geneformer", "module", "scgpt", "scvi")
    },
}
__getattr__, __dir__ = lazily(__name__, _WHERE)

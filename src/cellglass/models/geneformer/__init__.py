"""Geneformer (Theodoris et al. 2023): cells as genes ranked by expression, read by a masked language model.

GeneformerModel    the model; ``fit`` and ``load`` are its class methods
"""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.models.geneformer.model import GeneformerModel, fit, load

__all__ = ["GeneformerModel", "fit", "load"]

__getattr__, __dir__ = lazily(__name__, dict.fromkeys(__all__, "cellglass.models.geneformer.model"))

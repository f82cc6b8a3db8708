"""Cell2Sentence (Rizvi et al. 2025): cells as sentences of gene names, read by a causal language model.

Cell2SentenceModel    the model; ``fit`` and ``load`` are its class methods
"""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.models.cell2sentence.model import Cell2SentenceModel, fit, load

__all__ = ["Cell2SentenceModel", "fit", "load"]

__getattr__, __dir__ = lazily(__name__, dict.fromkeys(__all__, "cellglass.models.cell2sentence.model"))

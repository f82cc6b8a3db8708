"""Cell2Sentence (Rizvi et al. 2025): cells as sentences of gene names, read by a causal language model.

Cell2SentenceModel    the model; ``fit`` and ``load`` are its class methods
Learning              of what a fit's loss is made
"""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.models.cell2sentence.model import Cell2SentenceModel, fit, load
    from cellglass.models.cell2sentence.training import Learning

__all__ = ["Cell2SentenceModel", "Learning", "fit", "load"]

_PLACE = "cellglass.models.cell2sentence"
__getattr__, __dir__ = lazily(
    __name__,
    {**dict.fromkeys(("Cell2SentenceModel", "fit", "load"), f"{_PLACE}.model"), "Learning": f"{_PLACE}.training"},
)

"""scGPT (Cui et al. 2024): cells as genes with binned counts, read by a transformer.

ScgptModel    the model; ``fit`` and ``load`` are its class methods
"""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.models.scgpt.model import ScgptModel, fit, load

__all__ = ["ScgptModel", "fit", "load"]

__getattr__, __dir__ = lazily(__name__, dict.fromkeys(__all__, "cellglass.models.scgpt.model"))

"""scVI (Lopez et al. 2018): a variational autoencoder of counts.

ScviModel    the model; ``fit`` and ``load`` are its class methods
"""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.models.scvi.model import ScviModel, fit, load

__all__ = ["ScviModel", "fit", "load"]

__getattr__, __dir__ = lazily(__name__, dict.fromkeys(__all__, "cellglass.models.scvi.model"))

"""cellglass opens single-cell foundation models: their concepts, the genes that drive them, what those genes mean.

The public face is small; each name is imported when it is first used, so that ``import cellglass`` costs nothing:

    read_cells, demo_cells     cells from a file; 700 bundled blood cells
    models                     scVI and other models seen as functions from raw counts to activations
    explain                    from a model and cells to an atlas of its concepts
    open_atlas                 read an atlas again
    compare                    how far the concepts of two atlases agree
    InputError                 what is raised when something cannot be done with the given input
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from cellglass._version import __version__
from cellglass.errors import InputError

if TYPE_CHECKING:
    from cellglass import models
    from cellglass.atlas import Atlas, open_atlas, write_report
    from cellglass.atlas.compare import compare
    from cellglass.cells import Cells, cells_from_anndata, demo_cells, read_cells, simulate
    from cellglass.pipeline.explain import explain

_WHERE = {
    "Atlas": "cellglass.atlas",
    "Cells": "cellglass.cells",
    "cells_from_anndata": "cellglass.cells",
    "compare": "cellglass.atlas.compare",
    "demo_cells": "cellglass.cells",
    "explain": "cellglass.pipeline.explain",
    "open_atlas": "cellglass.atlas",
    "read_cells": "cellglass.cells",
    "simulate": "cellglass.cells",
    "write_report": "cellglass.atlas",
}

__all__ = [
    "Atlas",
    "Cells",
    "InputError",
    "__version__",
    "cells_from_anndata",
    "compare",
    "demo_cells",
    "explain",
    "models",
    "open_atlas",
    "read_cells",
    "simulate",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name == "models":
        return import_module("cellglass.models")
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module 'cellglass' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)

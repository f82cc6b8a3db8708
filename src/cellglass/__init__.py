"""cellglass finds the concepts inside single-cell foundation models, the genes behind each, what those genes mean.

The public face is small; each name is imported when it is first used, so that ``import cellglass`` costs nothing:

    read_cells, demo_cells     cells from a file; 700 bundled blood cells
    models                     scVI and other models seen as functions from raw counts to activations
    explain                    from a model and cells to an atlas of its concepts
    open_atlas                 read an atlas again
    write_report               an atlas as one HTML file that opens offline
    compare                    how far the concepts of two atlases agree
    steer                      cells of an atlas moved towards others by concepts, decoded to genes
    tl, pl                     concepts in an AnnData, and plots, as scanpy has them
    trace                      the circuit of what a transformer says of one cell
    InputError                 what is raised when something cannot be done with the given input
"""

from typing import TYPE_CHECKING

from cellglass._version import __version__
from cellglass.errors import InputError
from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass import models, pl, tl
    from cellglass.atlas import Atlas, open_atlas
    from cellglass.atlas.comparison.compare import compare
    from cellglass.cells import Cells, cells_from_anndata, demo_cells, read_cells, simulate
    from cellglass.circuits.tracing import trace
    from cellglass.explorer import write_report
    from cellglass.pipeline.explain import explain
    from cellglass.pipeline.steering import steer

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
    "pl",
    "read_cells",
    "simulate",
    "steer",
    "tl",
    "trace",
    "write_report",
]

_WHERE = {
    "Atlas": "cellglass.atlas",
    "Cells": "cellglass.cells",
    "cells_from_anndata": "cellglass.cells",
    "compare": "cellglass.atlas.comparison.compare",
    "demo_cells": "cellglass.cells",
    "explain": "cellglass.pipeline.explain",
    "models": "cellglass.models",
    "open_atlas": "cellglass.atlas",
    "pl": "cellglass.pl",
    "read_cells": "cellglass.cells",
    "simulate": "cellglass.cells",
    "steer": "cellglass.pipeline.steering",
    "tl": "cellglass.tl",
    "trace": "cellglass.circuits.tracing",
    "write_report": "cellglass.explorer",
}
__getattr__, __dir__ = lazily(__name__, _WHERE)

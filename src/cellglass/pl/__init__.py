"""Plots of an atlas in matplotlib, as scanpy has them: each takes ``ax``, ``show`` and ``save``.

embedding         a concept on the cells
matrix            concepts by the values of a label
genes             the genes of a concept, with their errors
pathways          its gene sets
reproducibility   what comes back in other cells, beside rivals

Sequential colours are viridis, categories those of Okabe and Ito: both are told apart by colour-blind readers.
"""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.pl.plots import embedding, genes, matrix, pathways, reproducibility

__all__ = ["embedding", "genes", "matrix", "pathways", "reproducibility"]

_WHERE = dict.fromkeys(__all__, "cellglass.pl.plots")
__getattr__, __dir__ = lazily(__name__, _WHERE)

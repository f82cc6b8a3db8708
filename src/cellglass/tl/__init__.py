"""Functions on AnnData, as scanpy has them: the concepts of a model in the object that a notebook already holds.

concepts     find the concepts of a model in an AnnData's cells, and keep them in it
annotate     keep what an atlas says in an AnnData
genes        the genes of a concept that an AnnData keeps
pathways     the gene sets of such a concept
"""

from typing import TYPE_CHECKING

from cellglass.lazy import lazily

if TYPE_CHECKING:
    from cellglass.tl.anndata import annotate, concepts, genes, pathways

__all__ = ["annotate", "concepts", "genes", "pathways"]

_WHERE = dict.fromkeys(__all__, "cellglass.tl.anndata")
__getattr__, __dir__ = lazily(__name__, _WHERE)

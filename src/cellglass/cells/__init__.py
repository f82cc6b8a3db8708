"""Cells: raw counts (CSR), gene ids and metadata, read, validated and held; the demo cells; simulated cells.

Knows nothing of models. Importing it takes no more than NumPy, pandas and scipy.sparse do: anndata, h5py, zarr and
scanpy are imported when a file is read or genes are chosen.
"""

from cellglass.cells.cells import Cells
from cellglass.cells.demo import demo_cells
from cellglass.cells.genes import align_genes
from cellglass.cells.read import as_cells, cells_from_anndata, read_cells
from cellglass.cells.select import variable_genes
from cellglass.cells.simulate import Simulated, simulate
from cellglass.cells.store import open_cells, write_blocks, write_cells

__all__ = [
    "Cells",
    "Simulated",
    "align_genes",
    "as_cells",
    "cells_from_anndata",
    "demo_cells",
    "open_cells",
    "read_cells",
    "simulate",
    "variable_genes",
    "write_blocks",
    "write_cells",
]

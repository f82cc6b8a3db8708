"""``.loom`` files as cells (https://linnarssonlab.org/loompy/format): HDF5 with genes x cells, read by blocks of cells.

The main matrix is the slot ``X``, and each layer (such as ``spliced``) is one too. No package beside h5py is needed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cellglass.cells.blocks import Dense
from cellglass.cells.contents import Contents, Slot, label_of, reading
from cellglass.cells.hdf5 import missing_filters, open_hdf5
from cellglass.errors import one_line

log = logging.getLogger(__name__)

_CELLS = ("obs_names", "CellID", "CellIDs", "cell_id", "cell_names", "barcode", "barcodes", "Barcode")
_GENES = ("var_names", "Accession", "Gene", "gene_names", "gene", "genes", "Genes")


@contextmanager
def open_loom(path: Path) -> Iterator[Contents]:
    """Open a loom file."""
    with open_hdf5(path) as file:
        name = str(path)
        guard = partial(reading, name, missing_filters(file))
        with guard():
            n_genes, n_cells = file["matrix"].shape
            obs, obsm = _attributes(file["col_attrs"], n_cells, f"{name}: column attributes")
            var, _ = _attributes(file["row_attrs"], n_genes, f"{name}: row attributes")
            obs, var = _named(obs, _CELLS), _named(var, _GENES)
            slots, unreadable = {}, {}
            layers = {f"layers/{layer}": file["layers"][layer] for layer in file.get("layers", {})}
            for key, dataset in {"X": file["matrix"], **layers}.items():
                if getattr(dataset, "shape", None) == (n_genes, n_cells):
                    slots[key] = Slot(key, label_of(key), Dense(_ByCell(dataset), guard), var)
                else:
                    unreadable[key] = f"is no matrix of {n_genes} genes and {n_cells} cells"
            contents = Contents(name, slots, obs, obsm, unreadable)
        yield contents


class _ByCell:
    """A dataset of genes x cells, seen as cells x genes: slices of cells are read and turned."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self.shape = dataset.shape[::-1]
        self.dtype = dataset.dtype
        self.chunks = dataset.chunks[::-1] if dataset.chunks else None

    def __getitem__(self, rows: slice) -> np.ndarray[Any, Any]:
        values: np.ndarray[Any, Any] = self.dataset[:, rows]
        return values.T


def _attributes(group: Any, n: int, where: str) -> tuple[pd.DataFrame, dict[str, np.ndarray[Any, Any]]]:
    """Return what has one value for each row as a table, and what has several as matrices."""
    columns, matrices, lacking = {}, {}, []
    for key in group:
        try:
            values = group[key][...]
            if values.ndim == 0 or len(values) != n:
                raise ValueError(f"has shape {values.shape}")
            if values.ndim == 2 and values.dtype.kind in "iuf":
                matrices[str(key)] = values
            elif values.ndim == 1:
                text = values.dtype.kind in "OSU"
                columns[str(key)] = [_text(value) for value in values] if text else values
        except MemoryError:
            raise
        except Exception as error:
            lacking.append(f"{key} ({one_line(error, 60)})")
    if lacking:
        log.warning("%s: left out what cannot be read: %s", where, ", ".join(lacking))
    return pd.DataFrame(columns, index=pd.RangeIndex(n).astype(str)), matrices


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _named(table: pd.DataFrame, usual: Sequence[str]) -> pd.DataFrame:
    """Return a table with the first column of a usual name as its index; else its rows stay numbered."""
    for name in usual:
        if name in table and table[name].is_unique:
            return table.set_index(name)
    for name in usual:
        if name in table:
            return table.set_index(name)
    return table

"""AnnData as cells: ``.h5ad`` files, zarr folders and objects in memory. Finds the slots; judges no values.

Matrices stay on disk and are read in blocks. Only files of AnnData older than 0.7 are read whole, by anndata itself.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.cells.blocks import Dense, Guard, Rows, Source, columns_source
from cellglass.cells.contents import Contents, Slot, reading
from cellglass.errors import InputError

if TYPE_CHECKING:
    from anndata import AnnData

log = logging.getLogger(__name__)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence what anndata says about old files while it reads one."""
    from anndata import OldFormatWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OldFormatWarning)
        warnings.filterwarnings("ignore", message="Moving element from", category=FutureWarning)
        yield


@contextmanager
def open_h5ad(path: Path) -> Iterator[Contents]:
    """Open an HDF5 file that holds an AnnData."""
    import h5py

    with reading(str(path)):
        file = h5py.File(path, "r")
    try:
        with reading(str(path)), quiet():
            if _is_old(file):
                import anndata

                contents = in_memory(anndata.read_h5ad(path), str(path))
            else:
                contents = _group_contents(file, str(path))
        yield contents
    finally:
        file.close()


@contextmanager
def open_zarr(path: Path) -> Iterator[Contents]:
    """Open a zarr folder that holds an AnnData."""
    import zarr

    with reading(str(path)):
        group = zarr.open_group(path, mode="r")
    if not ("obs" in group and "var" in group):
        raise InputError(f"{path}: is zarr but holds no AnnData (no obs and var); write it with adata.write_zarr")
    with reading(str(path)), quiet():
        contents = _group_contents(group, str(path))
    yield contents


def in_memory(adata: AnnData, name: str) -> Contents:
    """Return the contents of an AnnData object (which may be backed by a file)."""
    guard = partial(reading, name)
    slots: dict[str, Slot] = {}

    def add(key: str, label: str, matrix: Any, var: pd.DataFrame) -> None:
        if matrix is not None:
            slots[key] = Slot(key, label, _source(matrix, f"{name}: {label}", guard), var)

    for layer, matrix in adata.layers.items():
        add(f"layers/{layer}", f"layers['{layer}']", matrix, adata.var)
    add("X", "X", adata.X, adata.var)
    if adata.raw is not None:
        add("raw", "raw", adata.raw.X, adata.raw.var)
    obsm = {str(key): value for key, value in adata.obsm.items()}
    return Contents(name, slots, adata.obs.copy(), _numeric(obsm, len(adata.obs), name))


def _group_contents(group: Any, name: str) -> Contents:
    from anndata.io import read_elem

    obs, var = read_elem(group["obs"]), read_elem(group["var"])
    guard = partial(reading, name)
    shape = (len(obs), len(var))
    slots: dict[str, Slot] = {}

    def add(key: str, label: str, element: Any, genes: pd.DataFrame) -> None:
        if not _is_null(element):
            source = _stored(element, f"{name}: {label}", guard)
            if source.shape != (shape[0], len(genes)):
                raise InputError(
                    f"{name}: {label} has shape {source.shape}, but there are {shape[0]} cells and {len(genes)} genes; "
                    "write the file anew"
                )
            slots[key] = Slot(key, label, source, genes)

    for layer in group.get("layers", {}):
        add(f"layers/{layer}", f"layers['{layer}']", group["layers"][layer], var)
    if "X" in group:
        add("X", "X", group["X"], var)
    if "raw" in group and not _is_null(group["raw"]) and "X" in group["raw"]:
        add("raw", "raw", group["raw"]["X"], read_elem(group["raw"]["var"]))
    obsm = {}
    for key in group.get("obsm", {}):
        element = group["obsm"][key]
        encoding = str(element.attrs.get("encoding-type", "array"))
        if encoding in ("array", "dataframe"):
            obsm[str(key)] = read_elem(element)
        else:
            log.info("%s: left out obsm['%s'], which is %s and no matrix", name, key, encoding)
    return Contents(name, slots, obs, _numeric(obsm, shape[0], name))


def _stored(element: Any, where: str, guard: Guard) -> Source:
    """Return the source of a matrix in an HDF5 or zarr group."""
    if hasattr(element, "dtype"):
        if len(element.shape) != 2:
            raise InputError(f"{where} has {len(element.shape)} axes instead of cells and genes; write the file anew")
        return Dense(element, guard)
    encoding = str(element.attrs.get("encoding-type", element.attrs.get("h5sparse_format", "")))
    if encoding.removesuffix("_matrix") not in ("csr", "csc"):
        raise InputError(f"{where} is stored as {encoding or 'an unknown kind'}; write it as dense, CSR or CSC")
    n_cells, n_genes = (int(n) for n in element.attrs.get("shape", element.attrs.get("h5sparse_shape")))
    parts = element["data"], element["indices"], element["indptr"]
    make = Rows if encoding.startswith("csr") else columns_source
    return make(*parts, (n_cells, n_genes), guard)


def _source(matrix: Any, where: str, guard: Guard) -> Source:
    """Return the source of a matrix of an AnnData object."""
    if hasattr(matrix, "group"):  # anndata's view of a sparse matrix on disk
        return _stored(matrix.group, where, guard)
    if sp.issparse(matrix):
        if matrix.format not in ("csr", "csc"):
            matrix = matrix.tocsr()
        make = Rows if matrix.format == "csr" else columns_source
        return make(matrix.data, matrix.indices, matrix.indptr, matrix.shape, guard)
    if isinstance(matrix, np.ndarray) or type(matrix).__module__.startswith("h5py"):
        return Dense(matrix, guard)
    raise InputError(f"{where} is a {type(matrix).__name__}; make it a NumPy array or a scipy sparse matrix first")


def _numeric(obsm: dict[str, Any], n_cells: int, name: str) -> dict[str, np.ndarray[Any, Any]]:
    """Return the matrices among `obsm` that hold numbers; tables become matrices."""
    kept = {}
    for key, value in obsm.items():
        table = isinstance(value, pd.DataFrame)
        matrix = value.to_numpy() if table else value
        numbers = isinstance(matrix, np.ndarray) and matrix.dtype.kind in "iuf"
        if numbers and matrix.ndim == 2 and len(matrix) == n_cells:
            kept[key] = matrix
        else:
            log.info("%s: left out obsm['%s'], which is no matrix of numbers", name, key)
    return kept


def _is_null(element: Any) -> bool:
    return str(element.attrs.get("encoding-type", "")) == "null"


def _is_old(file: Any) -> bool:
    """Tell whether anndata < 0.7 wrote this: tables as compound arrays, or the raw matrix as ``raw.X``."""
    return hasattr(file["obs"], "dtype") or hasattr(file["var"], "dtype") or "raw.X" in file

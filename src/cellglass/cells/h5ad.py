"""AnnData as cells: ``.h5ad`` files, zarr folders and objects in memory. Finds the slots; judges no values.

Matrices stay on disk and are read in blocks. Only files of AnnData older than 0.7 are read whole, by anndata itself.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.cells.blocks import Dense, Guard, Rows, Source, columns_source
from cellglass.cells.contents import Contents, Slot, label_of, reading
from cellglass.cells.hdf5 import missing_filters, open_hdf5
from cellglass.errors import InputError, listed, one_line

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
    with open_hdf5(path) as file:
        guard = partial(reading, str(path), missing_filters(file))
        with guard(), quiet():
            if _is_old(file):
                import anndata

                contents = in_memory(anndata.read_h5ad(path), str(path))
            else:
                contents = _group_contents(file, str(path), guard)
        yield contents


@contextmanager
def open_zarr(path: Path) -> Iterator[Contents]:
    """Open a zarr folder that holds an AnnData."""
    import zarr

    with reading(str(path)):
        group = zarr.open_group(path, mode="r")
    if not ("obs" in group and "var" in group):
        raise InputError(f"{path}: is zarr but holds no AnnData (no obs and var); write it with adata.write_zarr")
    with reading(str(path)), quiet():
        contents = _group_contents(group, str(path), partial(reading, str(path)))
    yield contents


def in_memory(adata: AnnData, name: str) -> Contents:
    """Return the contents of an AnnData object (which may be backed by a file)."""
    guard = partial(reading, name)
    slots = _Slots(name, len(adata.obs))
    for layer, matrix in adata.layers.items():
        slots.add(f"layers/{layer}", partial(_source, matrix, guard), adata.var)
    if adata.X is not None:
        slots.add("X", lambda: _source(adata.X, guard), adata.var)
    if adata.raw is not None:
        slots.add("raw", lambda: _source(adata.raw.X, guard), adata.raw.var)
    obsm = {str(key): value for key, value in adata.obsm.items()}
    return slots.contents(adata.obs.copy(), _numeric(obsm, len(adata.obs), name))


def _group_contents(group: Any, name: str, guard: Guard) -> Contents:
    obs, var = read_table(group["obs"], f"{name}: obs"), read_table(group["var"], f"{name}: var")
    slots = _Slots(name, len(obs))
    for layer in group.get("layers", {}):
        try:
            element = group["layers"][layer]
        except KeyError as error:  # a link to nowhere
            slots.unreadable[f"layers/{layer}"] = f"cannot be read ({one_line(error)})"
            continue
        for key, part in _nested(f"layers/{layer}", element):
            if part is not element:
                slots.unreadable[key] = "has a slash in its name"
            elif not _is_null(element):
                slots.add(key, partial(_stored, element, guard), var)
    if "X" in group and not _is_null(group["X"]):
        slots.add("X", lambda: _stored(group["X"], guard), var)
    if "raw" in group and not _is_null(group["raw"]) and "X" in group["raw"]:
        slots.add("raw", lambda: _stored(group["raw"]["X"], guard), lambda: read_table(group["raw"]["var"], name))
    return slots.contents(obs, _numeric(_matrices(group.get("obsm", {}), name), len(obs), name))


class _NoMatrixError(Exception):
    """A part is no matrix that is read; the message completes "X ..."."""


class _Slots:
    """Gathers the slots of a file; one that cannot be read is noted, with the reason, and stands in nobody's way."""

    def __init__(self, name: str, n_cells: int) -> None:
        self.name, self.n_cells = name, n_cells
        self.slots: dict[str, Slot] = {}
        self.unreadable: dict[str, str] = {}

    def add(self, key: str, make: Callable[[], Source], var: pd.DataFrame | Callable[[], pd.DataFrame]) -> None:
        """Add the matrix that `make` finds, with genes `var`."""
        try:
            source, genes = make(), var() if callable(var) else var
        except MemoryError:
            raise
        except _NoMatrixError as error:
            self.unreadable[key] = str(error)
            return
        except Exception as error:
            self.unreadable[key] = f"cannot be read ({one_line(error)})"
            return
        if source.shape != (self.n_cells, len(genes)):
            held = f"{self.n_cells} cells and {len(genes)} genes"
            self.unreadable[key] = f"has shape {source.shape}, but there are {held}"
        else:
            self.slots[key] = Slot(key, label_of(key), source, genes)

    def contents(self, obs: pd.DataFrame, obsm: dict[str, np.ndarray[Any, Any]]) -> Contents:
        """Return what was gathered."""
        return Contents(self.name, self.slots, obs, obsm, self.unreadable)


def _nested(key: str, element: Any) -> Iterator[tuple[str, Any]]:
    """Yield a layer, or those inside of it: older versions of anndata wrote a name with a slash as a folder."""
    sparse = "indptr" in element if hasattr(element, "keys") else True
    if sparse or element.attrs.get("encoding-type") is not None or not len(element):
        yield key, element
        return
    for below in element:
        yield from _nested(f"{key}/{below}", element[below])


def read_table(element: Any, where: str) -> pd.DataFrame:
    """Return a table, without columns that cannot be read: a line in the log names those."""
    from anndata.io import read_elem

    try:
        table: pd.DataFrame = read_elem(element)
        return table
    except MemoryError:
        raise
    except Exception as error:
        if str(element.attrs.get("encoding-type")) != "dataframe":
            raise
        problem = error
    index = pd.Index(read_elem(element[element.attrs["_index"]]))
    columns, lacking = {}, []
    for key in element.attrs["column-order"]:
        try:
            columns[str(key)] = _read_column(element, str(key), index)
        except MemoryError:
            raise
        except Exception as error:
            lacking.append(f"{key} ({one_line(error, 60)})")
    if not lacking:
        raise problem
    log.warning("%s: left out columns that cannot be read: %s", where, listed(lacking))
    return pd.DataFrame(columns, index=index)


def _read_column(table: Any, key: str, index: pd.Index[Any]) -> pd.Series[Any]:
    from anndata.io import read_elem

    element = table[key]
    values = read_elem(element)
    if "categories" in element.attrs:  # as anndata < 0.8 wrote them: codes here, values in a group beside
        values = pd.Categorical.from_codes(values, read_elem(table["__categories"][key]))
    if len(values) != len(index) or getattr(values, "ndim", 1) != 1:
        raise ValueError(f"has shape {np.shape(values)} for {len(index)} rows")
    return pd.Series(values, index=index)


def _matrices(group: Any, name: str) -> dict[str, Any]:
    from anndata.io import read_elem

    found = {}
    for key in group:
        try:
            element = group[key]
            encoding = str(element.attrs.get("encoding-type", "array"))
            if encoding not in ("array", "dataframe"):
                log.info("%s: left out obsm['%s'], which is %s and no matrix", name, key, encoding)
                continue
            found[str(key)] = read_elem(element)
        except MemoryError:
            raise
        except Exception as error:
            log.warning("%s: left out obsm['%s'], which cannot be read (%s)", name, key, one_line(error))
    return found


def _stored(element: Any, guard: Guard) -> Source:
    """Return the source of a matrix in an HDF5 or zarr group."""
    if hasattr(element, "dtype"):
        if len(element.shape) != 2:
            raise _NoMatrixError(f"has {len(element.shape)} axes instead of cells and genes")
        return Dense(element, guard)
    encoding = str(element.attrs.get("encoding-type", element.attrs.get("h5sparse_format", "")))
    if encoding.removesuffix("_matrix") not in ("csr", "csc"):
        raise _NoMatrixError(f"is stored as {encoding or 'an unknown kind'}, neither dense nor CSR nor CSC")
    n_cells, n_genes = (int(n) for n in element.attrs.get("shape", element.attrs.get("h5sparse_shape")))
    parts = element["data"], element["indices"], element["indptr"]
    make = Rows if encoding.startswith("csr") else columns_source
    return make(*parts, (n_cells, n_genes), guard)


def _source(matrix: Any, guard: Guard) -> Source:
    """Return the source of a matrix of an AnnData object."""
    if hasattr(matrix, "group"):  # anndata's view of a sparse matrix on disk
        return _stored(matrix.group, guard)
    if sp.issparse(matrix):
        if matrix.format not in ("csr", "csc"):
            matrix = matrix.tocsr()
        make = Rows if matrix.format == "csr" else columns_source
        return make(matrix.data, matrix.indices, matrix.indptr, matrix.shape, guard)
    if isinstance(matrix, np.ndarray) or type(matrix).__module__.startswith("h5py"):
        return Dense(matrix, guard)
    raise _NoMatrixError(f"is a {type(matrix).__name__}; make it a NumPy array or a scipy sparse matrix first")


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

"""The demo cells: 700 human blood cells that scanpy carries inside its wheel, with their raw counts recovered.

The file holds ``raw = log1p(counts / n_counts * 10,000)`` and each cell's ``n_counts``, so that

    counts = round(expm1(raw) * n_counts / 10,000).

Both directions are checked: the values lie near integers, and the log of the counts gives ``raw`` back within the
rounding to three decimals that the file was stored with. Needs no network.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.cells.cells import Cells
from cellglass.cells.store import mapped_csr

SOURCE = "pbmc68k_reduced of scanpy, counts recovered from raw"
_TOTAL = 10_000.0
_STORED_ROUNDING = 5.1e-4
_INTEGER = 0.1


def demo_cells() -> Cells:
    """Return 700 blood cells x 765 genes with raw counts.

    Returns
    -------
    Cells
        ``obs`` has ``bulk_labels`` (10 cell types), ``phase`` of the cell cycle, ``louvain`` and more; ``obsm`` has
        ``X_pca`` and ``X_umap``.

    Raises
    ------
    RuntimeError
        If scanpy's file is not what it was, so that the counts cannot be recovered.
    """
    import anndata

    from cellglass.cells.h5ad import quiet

    with quiet():
        adata = anndata.read_h5ad(_bundled())
    counts = recover(sp.csr_matrix(adata.raw.X, dtype=np.float64), adata.obs["n_counts"].to_numpy(dtype=np.float64))
    obs = adata.obs.copy()
    obs.index = pd.Index(obs.index.astype(str), dtype=object)
    genes = pd.Index(adata.raw.var_names.astype(str), dtype=object)
    table = pd.DataFrame({"symbol": genes.to_numpy()}, index=genes)
    obsm = {key: np.asarray(adata.obsm[key]) for key in ("X_pca", "X_umap")}
    return Cells(counts, table, obs, obsm, SOURCE)


def recover(raw: sp.csr_matrix, n_counts: np.ndarray[tuple[int], np.dtype[np.float64]]) -> sp.csr_matrix:
    """Return the counts behind ``raw = log1p(counts / n_counts * 10,000)``; RuntimeError if there are none."""
    scale = np.repeat(n_counts, np.diff(raw.indptr)) / _TOTAL
    exact = np.expm1(raw.data) * scale
    rounded = np.rint(exact)
    residual = np.abs(exact - rounded).max()
    back = np.abs(np.log1p(rounded / scale) - raw.data).max()
    if residual > _INTEGER or back > _STORED_ROUNDING or rounded.min() < 1:
        raise RuntimeError(
            f"the demo cells are not what they were: recovered counts lie {residual:.3g} from integers and their log "
            f"{back:.3g} from the stored one; install the scanpy version that constraints.txt names"
        )
    order = sp.csr_matrix((rounded.astype(np.float32), raw.indices, raw.indptr), shape=raw.shape, copy=True)
    order.sort_indices()
    return mapped_csr(order.data, order.indices, order.indptr, raw.shape)


def _bundled() -> Path:
    """Find the file without importing scanpy, which takes seconds and has a data folder that it may write to."""
    spec = importlib.util.find_spec("scanpy")
    if spec is None or spec.origin is None:
        raise RuntimeError("scanpy is not installed, and the demo cells are in its package; install cellglass anew")
    path = Path(spec.origin).parent / "datasets" / "10x_pbmc68k_reduced.h5ad"
    if not path.is_file():
        raise RuntimeError(f"scanpy no longer has the demo cells at {path}; install the version in constraints.txt")
    return path

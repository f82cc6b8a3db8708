"""What the counts say without any model: their leading principal components, the yardstick for a site's probe."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from cellglass.threads import threads

COMPONENTS = 30
DEPTH = 1e4


def components(counts: sp.csr_matrix, n: int = COMPONENTS, seed: int = 0) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return the `n` leading principal components of log1p(count / total x 10,000), (n_cells, at most n).

    The counts stay sparse: centring is implicit, and ARPACK is exact.

    Parameters
    ----------
    counts : csr_matrix, shape (n_cells, n_genes)
        Raw counts.
    n : int
        Fewer where there are not so many cells or genes.
    seed : int
        Of ARPACK's first vector.
    """
    from sklearn.decomposition import PCA

    total = np.maximum(np.asarray(counts.sum(axis=1), dtype=np.float64).ravel(), 1)
    logs = sp.csr_matrix(counts.astype(np.float64).multiply(DEPTH / total[:, None])).log1p()
    n = min(n, *(size - 1 for size in counts.shape))
    if n < 1 or (logs.max(axis=0) - logs.min(axis=0)).nnz == 0:  # ARPACK finds no direction where nothing varies
        return np.zeros((counts.shape[0], 1))
    with threads(1):
        found: np.ndarray[Any, np.dtype[np.float64]] = PCA(
            n, svd_solver="arpack", random_state=seed % 2**32
        ).fit_transform(logs)
    return found

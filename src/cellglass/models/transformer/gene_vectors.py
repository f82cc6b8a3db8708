"""A vector for each gene from the cells alone, in which a small transformer's gene embeddings begin.

From a random start the first thing that is learned is what follows from a gene's neighbours in rank or value; cell
types come much later, and a small fit is over by then.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from cellglass.models.transformer.rank_values import TARGET

Doubles = np.ndarray[Any, np.dtype[np.float64]]
_TINY = 1e-9


def gene_vectors(counts: sp.csr_matrix, medians: Doubles, width: int, seed: int) -> Doubles:
    """Return a vector for each gene: genes that rise together point the same way.

    With A = log1p(count / total * 10,000 / median), genes centred, and A = U S V', row g is V_g sqrt(S) of the leading
    `width` singular values, scaled to a mean square of 1. Where there are fewer, the other columns are 0, and so is a
    gene that does not vary.

    Returns
    -------
    numpy.ndarray of float64, shape (n_genes, width)
    """
    from sklearn.decomposition import PCA

    total = np.asarray(counts.sum(axis=1), dtype=np.float64)
    scaled = counts.astype(np.float64).multiply(TARGET / np.maximum(total, 1)).multiply(1 / medians).tocsr().log1p()
    found = np.zeros((counts.shape[1], width))
    known = min(width, *(n - 1 for n in counts.shape))
    if known > 0:
        pca = PCA(known, svd_solver="arpack", random_state=seed % 2**32).fit(scaled)
        found[:, :known] = (pca.components_ * np.sqrt(pca.singular_values_)[:, None]).T
    size = np.sqrt(np.square(found).mean(axis=1, keepdims=True))
    scaled_to_one: Doubles = np.divide(found, size, out=np.zeros_like(found), where=size > _TINY)
    return scaled_to_one

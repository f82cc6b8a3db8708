"""Counts with less in them: molecules as a shallower sequencing would have left, or fewer genes. Knows no models."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp


def thinned(
    counts: sp.csr_matrix, kept: float | np.ndarray[Any, np.dtype[np.float64]], rng: np.random.Generator
) -> sp.csr_matrix:
    """Return counts of which each molecule stays with probability `kept`: count' ~ Binomial(count, kept).

    Parameters
    ----------
    counts
        Raw counts, cells x genes.
    kept
        One probability, or one for each cell, (n_cells,).
    rng
        Draws for each stored count, in their order.
    """
    made = sp.csr_matrix(counts, copy=True)
    each = kept if isinstance(kept, float) else np.repeat(kept, np.diff(made.indptr))
    made.data = rng.binomial(made.data.astype(np.int64), each).astype(np.float32)
    made.eliminate_zeros()
    return made


def without_genes(
    counts: sp.csr_matrix, share: np.ndarray[Any, np.dtype[np.float64]], rng: np.random.Generator
) -> sp.csr_matrix:
    """Return counts of which each gene of a cell goes with the probability `share` of that cell, (n_cells,)."""
    made = sp.csr_matrix(counts, copy=True)
    made.data[rng.random(made.nnz) < np.repeat(share, np.diff(made.indptr))] = 0
    made.eliminate_zeros()
    return made

"""How far concepts follow sequencing depth: the correlation of their activations with the logarithm of total counts.

    r = corr(activation, log(1 + total counts of the cell)),     Pearson, over all cells

A model sees more of a deeply sequenced cell, and may lay out its space by that: where genes are independent of each
other, and only depth varies, the concepts that come back are slices of depth. Knows nothing of dictionaries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from cellglass.evaluation.coactivation import correlations
from cellglass.vocabulary import FOLLOWS_DEPTH

Array = np.ndarray[Any, Any]


def depth_correlations(codes: sp.csc_matrix, totals: Array) -> Array:
    """Return the correlation of each latent with the log of total counts.

    Parameters
    ----------
    codes : scipy.sparse.csc_matrix, shape (n_cells, n_latents)
        Activations.
    totals : numpy.ndarray, shape (n_cells,)
        Total counts of the same cells.

    Returns
    -------
    numpy.ndarray of float32, shape (n_latents,)
        NaN where the latent does not vary, and everywhere if all cells have equally many counts.
    """
    depth = np.log1p(np.asarray(totals, dtype=np.float64))
    if not len(depth) or depth.std() < 1e-9:
        return np.full(codes.shape[1], np.nan, dtype=np.float32)
    depth -= depth.mean()
    found = correlations(codes, sp.csc_matrix(depth[:, None]))[:, 0]
    low, high = (np.asarray(end(axis=0).todense()).ravel() for end in (codes.min, codes.max))
    return np.where(high > low, found, np.nan).astype(np.float32)


def follows_depth(correlation: float | None) -> bool | None:
    """Say whether a concept follows depth; None where the correlation is not known."""
    return None if correlation is None or correlation != correlation else bool(abs(correlation) >= FOLLOWS_DEPTH)

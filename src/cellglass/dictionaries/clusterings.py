"""k-means, and which cells are nearest to which centre: of this the rival and the consensus are both made."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def centres(x: Array, k: int, seed: int, *, starts: int = 1) -> Array:
    """Return the centres of `k` clusters of the rows `x` (n, d), (k, d); the best of `starts` starts.

    Of fewer distinct rows than clusters some centres are the same.
    """
    from sklearn.cluster import KMeans

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(KMeans(k, n_init=starts, random_state=seed % 2**32).fit(x).cluster_centers_)


def one_hot(x: Array, middles: Array) -> Array:
    """Return 1 where a row of `x` (n, d) lies nearest to one of the `middles` (k, d), float32 (n, k)."""
    nearest = (np.square(middles).sum(axis=1) - 2 * x @ middles.T).argmin(axis=1)
    return np.asarray(np.eye(len(middles), dtype=np.float32)[nearest])


def standardised(activations: Array) -> Array:
    """Return the columns with mean 0 and variance 1, float32; one that does not vary becomes 0."""
    centred = activations - activations.mean(axis=0)
    sd = centred.std(axis=0)
    return np.asarray(centred / np.where(sd > 1e-9, sd, np.inf), dtype=np.float32)

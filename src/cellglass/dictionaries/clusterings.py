"""k-means, and which cells are nearest to which centre: of this the rival and the consensus are both made."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def centres(x: Array, k: int, seed: int, *, starts: int = 1) -> Array:
    """Return the centres of `k` clusters of the rows `x` (n, d), (k, d); the best of `starts` starts.

    Lloyd's algorithm by scikit-learn in single precision, from the starts of `spread`. Of fewer distinct rows than
    clusters some centres are the same.
    """
    from sklearn.cluster import KMeans

    middle = x.mean(axis=0)
    centred = np.ascontiguousarray(x - middle, dtype=np.float32)
    rng = np.random.default_rng(seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fits = [KMeans(k, init=spread(centred, k, rng), n_init=1).fit(centred) for _ in range(starts)]
    best = min(fits, key=lambda fit: fit.inertia_)
    member = np.eye(k)[best.labels_]  # (n, k): means are taken once more in double precision
    sizes = member.sum(axis=0)[:, None]
    return np.asarray(np.where(sizes > 0, member.T @ x / np.maximum(sizes, 1), best.cluster_centers_ + middle))


def spread(x: Array, k: int, rng: np.random.Generator) -> Array:
    """Return `k` of the rows `x` (n, d) that lie far from each other, (k, d): greedy k-means++.

    Each is drawn with a chance in proportion to its squared distance from the nearest of those before; of 2 + ln k
    draws the one that leaves the least sum of such distances is taken (Arthur & Vassilvitskii 2007).
    """
    norm = np.einsum("ij,ij->i", x, x)
    chosen = [int(rng.integers(len(x)))]
    nearest = np.maximum(norm - 2 * (x @ x[chosen[0]]) + norm[chosen[0]], 0)
    for _ in range(1, k):
        total = nearest.cumsum(dtype=np.float64)
        drawn = np.searchsorted(total, rng.random(2 + int(np.log(k))) * total[-1], side="right")
        tried = np.minimum(drawn, len(x) - 1)
        distance = x @ x[tried].T  # (n, draws)
        distance *= -2
        distance += norm[:, None] + norm[tried]
        np.clip(distance, 0, nearest[:, None], out=distance)
        best = int(distance.sum(axis=0).argmin())
        nearest = distance[:, best]
        chosen.append(int(tried[best]))
    return np.asarray(x[chosen])


def one_hot(x: Array, middles: Array) -> Array:
    """Return 1 where a row of `x` (n, d) lies nearest to one of the `middles` (k, d), float32 (n, k)."""
    nearest = (np.square(middles).sum(axis=1) - 2 * x @ middles.T).argmin(axis=1)
    return np.asarray(np.eye(len(middles), dtype=np.float32)[nearest])


def standardised(activations: Array) -> Array:
    """Return the columns with mean 0 and variance 1, float32; one that does not vary becomes 0."""
    centred = activations - activations.mean(axis=0)
    sd = centred.std(axis=0)
    return np.asarray(centred / np.where(sd > 1e-9, sd, np.inf), dtype=np.float32)

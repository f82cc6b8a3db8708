"""What one part of the cells suggests as concepts: clusters at many levels, and independent components, split by sign.

A candidate is an activation >= 0 in every cell of a common sample: 1 in the cells nearest to a cluster's centre and 0
elsewhere; of a component, by how much its response (in units of its standard deviation) passes 1, for either sign.
Where the response has two modes (its kurtosis is below 2.2; two equal spikes have 1, a normal variable 3) the halves
are 1 on their side of the cut that separates the two best (Otsu 1979) and 0 on the other: so a state that many types of
cells share is one candidate, which no cluster is. Knows nothing of what becomes of candidates.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cellglass.dictionaries.clusterings import centres, one_hot, standardised
from cellglass.dictionaries.components import directions, independent_components
from cellglass.seeds import derive

Array = np.ndarray[Any, Any]

CLUSTERS = (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14, 16, 18, 20, 22, 24, 28, 32, 40)
"""Numbers of k-means clusters."""
CLUSTERS_OF_MANY = (48, 56, 64)
"""More of them, where a part has at least `_MANY` cells."""
COMPONENTS = (20, 12, 8)
"""Numbers of independent components."""
_MANY, _CELLS_A_CLUSTER = 4000, 15
_BAR, _BIMODAL = 1.0, 2.2
_SAME = 0.95
_ITERATIONS = 200


class Candidates(NamedTuple):
    """What one part suggests.

    Attributes
    ----------
    activations : numpy.ndarray of float32, shape (n_sample, n_candidates)
        In the cells of the common sample.
    component : numpy.ndarray of bool, shape (n_candidates,)
        Whether it is half of a component; else it is a cluster.
    graded : numpy.ndarray of bool, shape (n_candidates,)
        Whether its activations are more than 0 and 1.
    """

    activations: Array
    component: Array
    graded: Array


def candidates(part: Array, sample: Array, seed: int) -> Candidates:
    """Fit clusters and components to the cells `part`, (n, d), and read them in the cells `sample`, (n_sample, d).

    Of candidates that correlate at 0.95 or more in the sample the first alone is kept; one that is active in none of
    its cells, or equally in all, is left out.
    """
    nothing = np.zeros((len(sample), 0), dtype=np.float32)
    found = [nothing]
    found += [one_hot(sample, centres(part, k, derive(seed, "clusters", k))) for k in cluster_numbers(len(part))]
    n_clusters = sum(block.shape[1] for block in found)
    graded = [np.zeros(n_clusters, dtype=bool)]
    rank = directions(part)
    for q in sorted({min(q, rank) for q in COMPONENTS if rank and q <= len(part) // 4}, reverse=True):
        halves, more = _halves(part, sample, q, derive(seed, "components", q))
        found.append(halves)
        graded.append(more)
    activations = np.concatenate(found, axis=1)
    component = np.arange(activations.shape[1]) >= n_clusters
    kept = _distinct(activations)
    return Candidates(np.ascontiguousarray(activations[:, kept]), component[kept], np.concatenate(graded)[kept])


def cluster_numbers(n: int) -> list[int]:
    """Return the numbers of clusters for a part of `n` cells: at least 15 cells a cluster on average."""
    asked = (*CLUSTERS, *(CLUSTERS_OF_MANY if n >= _MANY else ()))
    return [k for k in asked if k * _CELLS_A_CLUSTER <= n]


def otsu(r: Array) -> float:
    """Return the cut between two groups of the values `r` (n,) with the largest variance between their means."""
    ordered = np.sort(np.asarray(r, dtype=np.float64))
    below = np.arange(1, len(ordered))
    total = ordered.cumsum()
    difference = total[:-1] / below - (total[-1] - total[:-1]) / (len(ordered) - below)
    best = int((below * (len(ordered) - below) * np.square(difference)).argmax())
    return float((ordered[best] + ordered[best + 1]) / 2)


def _halves(x: Array, sample: Array, q: int, seed: int) -> tuple[Array, Array]:
    """Return both halves of `q` components of `x` in the sample, float32 (n_sample, 2 q), and which are graded."""
    found = independent_components(x, q, seed, iterations=_ITERATIONS)  # not settled: a candidate as any other
    if not np.isfinite(found.unmixing).all():
        return np.zeros((len(sample), 0), dtype=np.float32), np.zeros(0, dtype=bool)
    own, away = found.of(x), found.of(sample)
    kurtosis = (((own - own.mean(axis=0)) / own.std(axis=0)) ** 4).mean(axis=0)
    cut = np.array([otsu(r) if flat < _BIMODAL else np.nan for r, flat in zip(own.T, kurtosis, strict=True)])
    parts = [
        np.where(np.isnan(cut), np.clip(sign * away - _BAR, 0, None), sign * away > sign * np.nan_to_num(cut))
        for sign in (1, -1)
    ]
    return np.concatenate(parts, axis=1).astype(np.float32), np.tile(np.isnan(cut), 2)


def _distinct(activations: Array) -> Array:
    """Return the positions of columns that vary and do not correlate at 0.95 or more with one before."""
    z = standardised(activations)
    alike = z.T @ z >= _SAME * len(z)
    kept: list[int] = []
    for i in np.flatnonzero(np.square(z).sum(axis=0) > 0):
        if not alike[i, kept].any():
            kept.append(int(i))
    return np.asarray(kept, dtype=np.int64)

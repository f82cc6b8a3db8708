"""Consensus NMF of the counts (Kotliar et al., eLife 2019): gene programs without a model, as a rival.

    genes    2,000 of the highest dispersion for their mean; counts divided by the gene's standard deviation
    fits     NMF with `n_components` parts from many random starts; all parts scaled to norm 1
    filter   parts whose mean distance to their nearest neighbours is large are left out
    consensus   k-means of what is left; the median of each cluster, scaled to sum 1, is a program
    usage    non-negative least squares of each cell on the programs, as shares that sum to 1

The number of programs is the largest whose clusters of parts have a silhouette of at least 0.8, or that with the
highest. Written here, with scikit-learn, so that it runs on the same cells; the published program is the ``cnmf``
package. Differs from it in the last step, which there fits usages once more to spectra over all genes.
"""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from cellglass.seeds import derive

Array = np.ndarray[Any, Any]

GENES = 2000
NUMBERS = (6, 8, 10, 12, 16, 20)
STARTS = 10
_NEIGHBOURS, _FAR, _STABLE = 0.3, 0.5, 0.8
_ITERATIONS, _TOLERANCE = 200, 1e-3


class Programs(NamedTuple):
    """Programs found in some cells.

    Attributes
    ----------
    genes : numpy.ndarray of int64, shape (n_genes,)
        Columns of the counts.
    scale : numpy.ndarray, shape (n_genes,)
        Standard deviation of each.
    spectra : numpy.ndarray, shape (k, n_genes)
        Weights of the genes in each program; each sums to 1.
    silhouette : float
        Of the clusters of parts: how far fits from other starts agree.
    """

    genes: Array
    scale: Array
    spectra: Array
    silhouette: float

    def usages(self, counts: sp.csr_matrix) -> Array:
        """Return the share of each program in each cell, float32 (n_cells, k)."""
        from sklearn.decomposition import non_negative_factorization

        x = _scaled(counts[:, self.genes], self.scale)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            usage = non_negative_factorization(
                x,
                H=self.spectra.astype(np.float32),
                n_components=len(self.spectra),
                update_H=False,
                init="custom",
                max_iter=_ITERATIONS,
                tol=_TOLERANCE,
            )[0]
        return np.asarray(usage / np.maximum(usage.sum(axis=1, keepdims=True), 1e-12), dtype=np.float32)


def programs(counts: sp.csr_matrix, seed: int, *, numbers: tuple[int, ...] = NUMBERS) -> dict[int, Programs]:
    """Return the consensus programs of the cells of `counts`, for each number of programs."""
    genes = dispersed(counts)
    scale = _sd(counts[:, genes])
    x = _scaled(counts[:, genes], scale)
    return {k: Programs(genes, scale, *consensus(_parts(x, k, seed), k, derive(seed, "programs", k))) for k in numbers}


def stable(found: dict[int, Programs]) -> int:
    """Return the number of programs that other starts agree on."""
    good = [k for k, one in found.items() if one.silhouette >= _STABLE]
    return max(good) if good else max(found, key=lambda k: found[k].silhouette)


def dispersed(counts: sp.csr_matrix, n: int = GENES) -> Array:
    """Return the `n` genes whose variance over mean is highest among genes of like mean, ascending."""
    total = np.maximum(np.asarray(counts.sum(axis=1), dtype=np.float64).ravel(), 1)
    shares = sp.csr_matrix(counts.multiply(np.median(total) / total[:, None]))
    mean = np.asarray(shares.mean(axis=0)).ravel()
    variance = np.asarray(shares.multiply(shares).mean(axis=0)).ravel() - mean**2
    able = np.flatnonzero(np.diff(counts.tocsc().indptr) >= 5)  # seen in at least five cells
    fano = np.log(np.maximum(variance[able], 1e-12) / mean[able])
    by_mean = np.argsort(mean[able])
    for some in np.array_split(by_mean, 20):
        fano[some] -= np.median(fano[some]) if len(some) else 0
    return np.sort(able[np.argsort(-fano, kind="stable")[:n]])


def consensus(parts: Array, k: int, seed: int) -> tuple[Array, float]:
    """Return the medians of `k` clusters of `parts` (n, n_genes), without outliers, and the silhouette of the clusters.

    `parts` have norm 1; a part is an outlier if its mean distance to its nearest neighbours, 0.3 of the number of
    starts, is above 0.5.
    """
    from sklearn.cluster import KMeans
    from sklearn.metrics import silhouette_score

    distance = np.sqrt(np.maximum(2 - 2 * parts @ parts.T, 0))
    nearest = max(1, round(_NEIGHBOURS * len(parts) / k))
    far = np.sort(distance, axis=1)[:, 1 : nearest + 1].mean(axis=1)
    kept = parts[far < _FAR]
    if len(kept) <= k:
        kept = parts[np.argsort(far)[: max(k + 1, len(parts) // 2)]]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        member = KMeans(k, n_init=10, random_state=seed % 2**32).fit_predict(kept)
    spectra = np.stack([np.median(kept[member == c], axis=0) for c in np.unique(member)])
    spectra = spectra[spectra.sum(axis=1) > 0]
    several = 1 < len(np.unique(member)) < len(kept)
    score = float(silhouette_score(kept, member)) if several else -1.0
    return spectra / spectra.sum(axis=1, keepdims=True), score


def _parts(x: sp.csr_matrix, k: int, seed: int) -> Array:
    """Return the parts of NMF from each start, (starts x k, n_genes), each of norm 1."""
    from sklearn.decomposition import NMF

    found = []
    for start in range(STARTS):
        state = derive(seed, "start", k, start) % 2**32
        model = NMF(k, init="random", max_iter=_ITERATIONS, tol=_TOLERANCE, random_state=state)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one that has not settled is used as it is
            found.append(model.fit(x).components_)
    parts = np.concatenate(found)
    norm = np.linalg.norm(parts, axis=1, keepdims=True)
    return np.asarray((parts / np.where(norm > 0, norm, 1))[norm[:, 0] > 0], dtype=np.float64)


def _sd(counts: sp.csr_matrix) -> Array:
    mean = np.asarray(counts.mean(axis=0), dtype=np.float64).ravel()
    square = np.asarray(counts.multiply(counts).mean(axis=0), dtype=np.float64).ravel()
    return np.sqrt(np.maximum(square - mean**2, 1e-12))


def _scaled(counts: sp.csr_matrix, scale: Array) -> sp.csr_matrix:
    return sp.csr_matrix(counts.astype(np.float32).multiply((1 / scale).astype(np.float32)[None]))

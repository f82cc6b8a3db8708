"""Similarity of latents by what they do: the correlation of their activations over the same cells.

For latents i of A and j of B with activations x and y over n cells (Pearson):

    r = (mean(x y) - mean(x) mean(y)) / (sd(x) sd(y))

Not the cosine of x and y: two unrelated latents that are both active in half of the cells have a large cosine and a
correlation of 0. It needs no common site: any two dictionaries over the same cells compare, of two models too. The
codes stay sparse; only the result, latents x latents, is dense. Knows nothing of dictionaries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

Array = np.ndarray[Any, Any]

_LATENTS, _CELLS = 512, 1024
_DENSE_GAIN = 40  # how much faster one multiplication is in a dense product than in a sparse one, about


def correlations(a: sp.csc_matrix, b: sp.csc_matrix) -> Array:
    """Return the correlation of every latent of `a` with every latent of `b`.

    Parameters
    ----------
    a, b : scipy.sparse.csc_matrix, shapes (n_cells, n_a) and (n_cells, n_b)
        Activations in the same cells, in the same order.

    Returns
    -------
    numpy.ndarray of float64, shape (n_a, n_b)
        0 where a latent does not vary.
    """
    n = a.shape[0]
    mean_a, sd_a = _moments(a)
    mean_b, sd_b = _moments(b)
    found = products(a, b)
    found /= max(n, 1)
    found -= np.outer(mean_a, mean_b)
    found *= (sd_a > 0)[:, None] & (sd_b > 0)[None]
    found /= np.where(sd_a > 0, sd_a, 1)[:, None]
    found /= np.where(sd_b > 0, sd_b, 1)[None]
    return np.clip(found, -1, 1, out=found)


def products(a: sp.csc_matrix, b: sp.csc_matrix) -> Array:
    """Return AᵀB as float64 (n_a, n_b), in pieces: never cells x latents, except a few cells where codes are full."""
    n, n_a, n_b = a.shape[0], a.shape[1], b.shape[1]
    found = np.zeros((n_a, n_b))
    by_cell_b = b.tocsr().astype(np.float64)
    if a.nnz / max(n, 1) * (b.nnz / max(n, 1)) * _DENSE_GAIN > n_a * n_b:
        by_cell_a = a.tocsr().astype(np.float64)
        for start in range(0, n, _CELLS):
            piece = slice(start, start + _CELLS)
            found += by_cell_a[piece].toarray().T @ by_cell_b[piece].toarray()
        return found
    for start in range(0, n_a, _LATENTS):
        piece = slice(start, start + _LATENTS)
        found[piece] = (a[:, piece].T.tocsr().astype(np.float64) @ by_cell_b).toarray()
    return found


def shuffled_cells(codes: sp.csc_matrix, rng: np.random.Generator) -> sp.csc_matrix:
    """Return `codes` with the activations of each latent moved to random cells: the control of correlations.

    How often and how strongly each latent is active stays; which cells it shares with others is chance.
    """
    n = codes.shape[0]
    counts = np.diff(codes.indptr)
    rows = [rng.choice(n, int(count), replace=False) for count in counts]
    indices = np.concatenate([*rows, np.zeros(0, dtype=np.int64)]).astype(np.int32)
    moved = sp.csc_matrix((codes.data.copy(), indices, codes.indptr.copy()), shape=codes.shape)
    moved.sort_indices()
    return moved


def _moments(codes: sp.csc_matrix) -> tuple[Array, Array]:
    """Return mean and standard deviation of each latent over all cells; 0 where rounding leaves no variance."""
    n = max(codes.shape[0], 1)
    latent = np.repeat(np.arange(codes.shape[1]), np.diff(codes.indptr))
    data = codes.data.astype(np.float64)
    mean = np.bincount(latent, weights=data, minlength=codes.shape[1]) / n
    square = np.bincount(latent, weights=data**2, minlength=codes.shape[1]) / n
    variance = square - mean**2
    return mean, np.sqrt(np.where(variance > 1e-12 * square, variance, 0))

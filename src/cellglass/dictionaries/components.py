"""Independent components (FastICA, Hyvärinen & Oja 2000), of which the rival and the consensus are both made.

The symmetric algorithm with the log cosh contrast, as scikit-learn runs it, from the same start; it works in single
precision on whitened rows, where a step is one hyperbolic tangent and two small products.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

Array = np.ndarray[Any, Any]

_TOLERANCE = 1e-3
_FLAT = 1e-12
"""Share of the largest variance below which a direction is rounding."""


class Components(NamedTuple):
    """Independent components of rows.

    Attributes
    ----------
    mean : numpy.ndarray of float64, shape (d,)
        Of the rows.
    unmixing : numpy.ndarray of float64, shape (q, d)
        ``(x - mean) @ unmixing.T`` are the components of rows `x`, each of variance 1 in those that were fitted. Not
        finite where the rows have fewer than q directions.
    mixing : numpy.ndarray of float64, shape (d, q)
        The pseudoinverse: what one unit of each component adds to a row.
    settled : bool
        Whether the directions came to rest.
    """

    mean: Array
    unmixing: Array
    mixing: Array
    settled: bool

    def of(self, x: Array) -> Array:
        """Return the components of rows `x` (n, d), float64 (n, q)."""
        return np.asarray((x - self.mean) @ self.unmixing.T)


def independent_components(x: Array, q: int, seed: int, *, iterations: int) -> Components:
    """Fit `q` independent components to the rows `x` (n, d) in at most so many steps.

    With rows z, whitened to their first q principal axes, a step is W <- orthogonal part of
    E[tanh(W z) z'] - diag(E[1 - tanh(W z)^2]) W, until no direction turns by more than a thousandth (1 - cosine).
    """
    mean = x.mean(axis=0)
    centred = x - mean
    whitening = _whitening(centred, q)
    if not np.isfinite(whitening).all():
        return Components(mean, whitening, np.full((x.shape[1], q), np.nan), settled=False)
    z = torch.from_numpy(np.ascontiguousarray(whitening @ centred.T))  # (q, n)
    start = np.random.RandomState(seed % 2**32).normal(size=(q, q))
    turned, settled = _turned(z, start, iterations)
    unmixing = turned @ whitening
    unmixing /= np.std(unmixing @ centred.T, axis=1, keepdims=True)
    return Components(mean, unmixing, np.linalg.pinv(unmixing), settled)


def directions(x: Array) -> int:
    """Return in how many directions the rows `x` (n, d) vary by more than what float32 rounds away."""
    centred = x - x.mean(axis=0)
    values = np.linalg.eigvalsh(centred.T @ centred)
    return int((values > _FLAT * values[-1]).sum()) if values[-1] > 0 else 0


def _whitening(centred: Array, q: int) -> Array:
    """Return the first q principal axes over their standard deviations, (q, d); infinite where one is rounding."""
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    values, axes = values[::-1][:q], vectors[:, ::-1][:, :q]
    if not values[-1] > _FLAT * max(values[0], 0.0):
        return np.full((q, centred.shape[1]), np.inf)
    return np.asarray((axes * np.where(axes[0] < 0, -1, 1) / np.sqrt(values)).T)


def _turned(z: torch.Tensor, start: Array, iterations: int) -> tuple[Array, bool]:
    """Return the rotation of the whitened rows z (q, n) at which the algorithm comes to rest, and whether it did.

    The last two steps are taken again in double precision, which leaves nothing of the rounding of those before.
    """
    w, single = _orthogonal(start), z.float()
    before, across = w, single.T.contiguous()
    for _ in range(iterations):
        earlier, before, w = before, w, _step(w, single, across)
        if np.abs(np.abs(np.einsum("ij,ij->i", w, before)) - 1).max() < _TOLERANCE:
            return _step(_step(earlier, z, z.T), z, z.T), True
    return w, False


def _step(w: Array, z: torch.Tensor, across: torch.Tensor) -> Array:
    """Return the next rotation, float64; z (q, n) and its transpose are of the precision that it is computed in."""
    g = (torch.from_numpy(w).to(z.dtype) @ z).tanh_()
    slope = 1 - torch.linalg.vector_norm(g, dim=1).double().square().numpy() / z.shape[1]
    return _orthogonal((g @ across).double().numpy() / z.shape[1] - slope[:, None] * w)


def _orthogonal(w: Array) -> Array:
    """Return (w w')^(-1/2) w."""
    values, vectors = np.linalg.eigh(w @ w.T)
    return np.asarray((vectors / np.sqrt(np.maximum(values, np.finfo(np.float64).tiny))) @ vectors.T @ w)

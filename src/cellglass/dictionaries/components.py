"""Independent components (FastICA, Hyvärinen & Oja 2000), of which the rival and the consensus are both made."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def independent_components(q: int, seed: int, *, iterations: int) -> Any:
    """Return scikit-learn's FastICA of `q` components of unit variance, ready to be fitted."""
    from sklearn.decomposition import FastICA

    return FastICA(q, whiten="unit-variance", fun=log_cosh, max_iter=iterations, tol=1e-3, random_state=seed % 2**32)


def log_cosh(x: Array) -> tuple[Array, Array]:
    """Return the derivative of log cosh at `x` (q, n), and the mean of its second derivative in each row, (q,).

    What FastICA's ``fun="logcosh"`` computes, in one pass over all components: of few cells that takes half the time.
    """
    g = np.tanh(x)
    return g, 1 - np.einsum("ij,ij->i", g, g) / x.shape[1]

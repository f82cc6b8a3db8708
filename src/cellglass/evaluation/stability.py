"""Stability: whether dictionaries that differ only in their seed hold the same directions.

For two sets of unit decoder directions A (n_a x d) and B (n_b x d), with S = A B^T:

    max cosine      mean over A of max over B of S, and the same from B to A, averaged
    matched cosine  mean of S over the one-to-one matching of A and B that makes it largest (Hungarian algorithm)

The null draws as many directions at random with the site's covariance: in a narrow or lopsided space random directions
agree too. Fits no dictionary.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from cellglass.evaluation.metric import Metric
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]


class Agreement(NamedTuple):
    """Agreement of two sets of directions: `max_cosine` and `matched_cosine` as in the module's docstring."""

    max_cosine: float
    matched_cosine: float


def agreement(a: Array, b: Array) -> Agreement:
    """Return how the rows of `a` (n_a, d) and `b` (n_b, d) agree, without rows of length zero; NaN if none is left."""
    from scipy.optimize import linear_sum_assignment

    a, b = _unit(a), _unit(b)
    if not len(a) or not len(b):
        return Agreement(float("nan"), float("nan"))
    cosine = a @ b.T
    rows, columns = linear_sum_assignment(cosine, maximize=True)
    mutual = (cosine.max(axis=1).mean() + cosine.max(axis=0).mean()) / 2
    return Agreement(float(mutual), float(cosine[rows, columns].mean()))


def random_directions(n: int, covariance: Array, rng: np.random.Generator) -> Array:
    """Return `n` unit vectors (n, d) drawn from a normal distribution with `covariance` (d, d)."""
    values, vectors = np.linalg.eigh(covariance)
    scale = np.sqrt(np.clip(values, 0, None))
    return _unit(rng.standard_normal((n, len(values))) * scale @ vectors.T)


def stability_metric(directions: Sequence[Array], covariance: Array, seed: int, *, basis: str) -> Metric | None:
    """Return ``stability.BASIS``: the matched cosine over all pairs of seeds, or None for fewer than two dictionaries.

    Parameters
    ----------
    directions : sequence of numpy.ndarray, each (n_latents, d)
        Decoder directions of one dictionary a seed, without dead latents.
    covariance : numpy.ndarray, shape (d, d)
        Of the site's activations.
    seed : int
        Of the null.
    basis : str
        Name of the basis.
    """
    pairs = list(combinations(directions, 2))
    if not pairs:
        return None
    rng = generator(seed, "stability", basis)
    matched = [agreement(a, b).matched_cosine for a, b in pairs]
    null = [
        agreement(random_directions(len(a), covariance, rng), random_directions(len(b), covariance, rng)).matched_cosine
        for a, b in pairs
    ]
    return Metric(
        metric=f"stability.{basis}",
        value=float(np.mean(matched)),
        spread=float(np.std(matched, ddof=1)) if len(matched) > 1 else None,
        null=float(np.mean(null)),
        n=len(pairs),
        definition=(
            f"Mean cosine of the decoder directions of {basis} between two seeds, matched one to one (Hungarian "
            "algorithm), without latents that are active in no sampled cell; mean and spread over all pairs of seeds. "
            "Null: as many random directions with the site's covariance. n: pairs of seeds."
        ),
    )


def _unit(directions: Array) -> Array:
    directions = np.asarray(directions, dtype=np.float64)
    norm = np.linalg.norm(directions, axis=1)
    keep = norm > 0
    return np.asarray(directions[keep] / norm[keep, None])

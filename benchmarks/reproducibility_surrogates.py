"""Sites without structure that `reproducibility` fits concepts to: what is reported where nothing is to be found.

A Gaussian has the mean and covariance of the site, so all that principal components know, and no more. Principal
components that are shuffled have their distributions too (tails, modes), each apart from the others.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from reproducibility_sites import Site

from cellglass.activations.rows import as_rows
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

REAL, GAUSSIAN, SHUFFLED = "the cells", "a Gaussian of the same covariance", "principal components, each shuffled"


def surrogates(site: Site, split: int) -> dict[str, Site]:
    """Return the site itself and its two surrogates, drawn anew for each split."""
    rng = generator(0, "surrogates", site.name, split)
    mean = site.z.mean(axis=0)
    values, axes = np.linalg.eigh(np.cov(site.z.T))
    drawn = rng.standard_normal(site.z.shape) * np.sqrt(np.maximum(values, 0))
    shuffled = np.column_stack([rng.permutation(column) for column in ((site.z - mean) @ axes).T])
    return {REAL: site} | {
        name: _with(site, mean + scores @ axes.T) for name, scores in ((GAUSSIAN, drawn), (SHUFFLED, shuffled))
    }


def _with(site: Site, z: Array) -> Site:
    z = z.astype(np.float32)
    return site._replace(rows=as_rows(z), z=z.astype(np.float64))

"""Baseline: principal components, split by sign. Fitted exactly, from the covariance, in one pass of bounded memory."""

from __future__ import annotations

from typing import ClassVar

import torch

from cellglass.activations.rows import Ints, Rows
from cellglass.dictionaries.baselines.linear import LinearDictionary
from cellglass.dictionaries.kind import DictionaryKind
from cellglass.dictionaries.training.batches import mean_and_variance
from cellglass.errors import InputError

_READ = 8192


class PCA(LinearDictionary):
    """Principal components, by falling variance."""

    kind: ClassVar[str] = "pca"


def fit_pca(rows: Rows, chosen: Ints, n_components: int | None = None) -> PCA:
    """Fit `n_components` components (None: all) to the `chosen` rows.

    The eigenvectors of the d x d covariance, in float64: the same components as scikit-learn's PCA, whatever the
    number of rows. The sign of each is such that its largest entry is positive.
    """
    q = rows.width if n_components is None else n_components
    if not 1 <= q <= rows.width:
        raise InputError(f"n_components is {q}; it must lie between 1 and the width of the site, {rows.width}")
    mean = mean_and_variance(rows, chosen)[0]
    scatter = torch.zeros(rows.width, rows.width, dtype=torch.float64)
    for batch in rows.batches(batch_size=_READ, rows=chosen, shuffle=False):
        deviation = batch.double() - mean.double()
        scatter += deviation.T @ deviation
    axes = torch.linalg.eigh(scatter).eigenvectors.T.flip(0)[:q]
    largest = axes.gather(1, axes.abs().argmax(dim=1, keepdim=True))
    components = (axes * largest.sign()).float()
    return PCA(mean, components, components)


ENTRY = DictionaryKind(PCA, "baseline", fit=lambda rows, chosen, count, _seed: fit_pca(rows, chosen, count))

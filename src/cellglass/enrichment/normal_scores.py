"""Puts effects of genes on a scale on which enrichment tests are calibrated; changes no order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def normal_scores(scores: Array) -> Array:
    r"""Return the rank-based normal score of each gene within its row.

    .. math:: y_g = \Phi^{-1}\left(\frac{r_g - 1/2}{n}\right)

    with r the rank (1 is the lowest; equal scores share their mean rank) among n genes (Blom 1958, with the offset of
    Hazen 1914). Counterfactual effects are heavy-tailed: a few genes hold most of the sum. On the raw scale a t-test
    of their means (ULM) finds sets in two of three random rankings, and the running sum of GSEA is decided by one or
    two genes. The order of genes, and so every gene list, stays as it is.

    Parameters
    ----------
    scores : array, shape (n_rankings, n_genes)

    Returns
    -------
    array of float32, shape (n_rankings, n_genes)
    """
    from scipy.special import ndtri
    from scipy.stats import rankdata

    out = np.empty(scores.shape, dtype=np.float32)
    for row, ranking in enumerate(scores):
        out[row] = ndtri((rankdata(ranking) - 0.5) / len(ranking))
    return out

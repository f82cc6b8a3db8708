"""Rankings as GSEA walks them: scores in descending order, and the block of equal scores that each rank lies in.

Ties: the order of genes with equal scores means nothing, so running sums are read only between blocks of equal scores,
never inside one (as a Kolmogorov-Smirnov statistic is). No result depends on the order in which genes stand in the
matrix.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


class Ranked(NamedTuple):
    """Rankings, one a row; every field has shape (n, n_genes).

    Attributes
    ----------
    order : int32
        Gene at each rank.
    score : float64
        Score at each rank, descending.
    start, end : int32
        First rank of the block of equal scores that a rank lies in, and the rank after its last.
    """

    order: Array
    score: Array
    start: Array
    end: Array


def rank(scores: Array) -> Ranked:
    """Rank each row of `scores`, highest first."""
    order = np.argsort(-scores, axis=1, kind="stable").astype(np.int32)
    ordered = np.take_along_axis(scores, order, axis=1).astype(np.float64)
    n, genes = ordered.shape
    ranks = np.broadcast_to(np.arange(genes, dtype=np.int32), (n, genes))
    fresh = np.ones((n, genes), dtype=bool)
    fresh[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    start = np.maximum.accumulate(np.where(fresh, ranks, 0), axis=1).astype(np.int32)
    closing = np.ones((n, genes), dtype=bool)
    closing[:, :-1] = fresh[:, 1:]
    after = np.where(closing, ranks + 1, genes)
    end = np.minimum.accumulate(after[:, ::-1], axis=1)[:, ::-1].astype(np.int32)
    return Ranked(order, ordered, start, np.ascontiguousarray(end))

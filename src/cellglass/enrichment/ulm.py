"""Univariate linear models: does belonging to a set predict a gene's score? decoupler's formula, bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cellglass.enrichment.base import SMALLEST, BoundTest, GeneSetTest, SetStatistics
from cellglass.enrichment.members import Members

if TYPE_CHECKING:
    from cellglass.enrichment.config import EnrichmentConfig

Array = npt.NDArray[Any]

_TERMS = 512
_ROWS = 1024
_TINY = 2.2e-16


def ulm(rankings: Sequence[Array], sets: Members) -> SetStatistics:
    r"""Fit ``score = a + b * (gene belongs to the set)`` in each ranking and test the slope.

    .. math::

        t = r \sqrt{\frac{N - 2}{1 - r^2}}, \qquad p = 2 \, P(T_{N-2} \ge |t|)

    with :math:`r` the correlation of scores and membership over all :math:`N` genes (decoupler, Badia-i-Mompel et al.
    2022, Bioinformatics Advances vbac016, whose order of steps is kept). A ranking whose scores are all equal gets
    t = 0 and p = 1, and so do all where there are fewer than 3 genes. The leading edge are the genes above (t > 0) or
    below (t < 0) the mean score.
    p assumes errors with light tails: where a few genes carry most of the score, small sets of random genes get small
    p too; the null rates show how often.

    Parameters
    ----------
    rankings : sequence of numpy.ndarray, each float (n_concepts, n_genes)
        Each is tested by itself.
    sets : Members
        The sets.
    """
    n, terms = len(rankings[0]), len(sets.terms)
    statistic = np.zeros((len(rankings), n, terms))
    p = np.ones_like(statistic)
    for first in range(0, terms, _TERMS):
        columns = slice(first, first + _TERMS)
        membership = sets.matrix[:, columns].toarray()
        for draw in range(len(rankings)):
            scores = np.asarray(rankings[draw], dtype=np.float64)
            varied = np.flatnonzero(np.ptp(scores, axis=1) > 0)
            for rows in np.array_split(varied, max(1, -(-len(varied) // _ROWS))):
                if len(rows):
                    r = _correlations(scores[rows], membership)
                    statistic[draw, rows, columns], p[draw, rows, columns] = slope_test(r, sets.n_genes)
    edge = np.broadcast_to(np.asarray(rankings[0]).mean(axis=1, dtype=np.float64, keepdims=True), (n, terms))
    return SetStatistics(statistic, p, edge)


def slope_test(r: Array, n_genes: int) -> tuple[Array, Array]:
    """Return t and p of correlations `r` over `n_genes` genes; an `r` beyond 1, as rounding gives, counts as 1."""
    from scipy.special import stdtr

    if n_genes < 3:
        return np.zeros_like(r), np.ones_like(r)
    r, freedom = np.clip(r, -1.0, 1.0), n_genes - 2
    t = r * np.sqrt(freedom / ((1.0 - r + _TINY) * (1.0 + r + _TINY)))
    return t, np.maximum(2 * stdtr(freedom, -np.abs(t)), SMALLEST)


def _correlations(scores: Array, membership: Array) -> Array:
    """Return the correlation of each row of `scores` with each column of `membership`; 0 where either is constant."""
    # decoupler subtracts one mean for all rows; rows of very different scale would lose digits to it.
    sd = scores.std(axis=1, keepdims=True)
    block = (scores - scores.mean(axis=1, keepdims=True)) / np.where(sd > 0, sd, 1)
    covariance = np.dot(block - block.mean(), membership - membership.mean(axis=0)) / max(block.shape[1] - 1, 1)
    scale = np.std(membership, axis=0, ddof=1) * np.std(block, axis=1, ddof=1, keepdims=True)
    return np.asarray(np.divide(covariance, scale, out=np.zeros_like(covariance), where=scale > 0))


def _bind(_config: EnrichmentConfig, _seed: int, _workers: int | None) -> BoundTest:
    return ulm


ENTRY = GeneSetTest(
    name="ulm",
    title="ULM",
    one_sided=False,
    wants="normal",
    null_draws=25,
    cost="One dense product of rankings and sets for each draw.",
    bind=_bind,
)

"""Univariate linear models: does belonging to a set predict a gene's score? decoupler's function, bounded memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cellglass.enrichment.members import Members
from cellglass.enrichment.result import SMALLEST, Tested

Array = npt.NDArray[Any]

_TERMS = 512
_ROWS = 1024


def ulm(rankings: Sequence[Array], sets: Members) -> Tested:
    r"""Fit ``score = a + b * (gene belongs to the set)`` in each ranking and test the slope.

    .. math::

        t = r \sqrt{\frac{N - 2}{1 - r^2}}, \qquad p = 2 \, P(T_{N-2} \ge |t|)

    with :math:`r` the correlation of scores and membership over all :math:`N` genes (decoupler, Badia-i-Mompel et al.
    2022, Bioinformatics Advances vbac016; computed by its `ulm`). A ranking whose scores are all equal gets t = 0 and
    p = 1. The leading edge are the genes above (t > 0) or below (t < 0) the mean score.
    p assumes errors with light tails: where a few genes carry most of the score, small sets of random genes get small
    p too; the null rates show how often.

    Parameters
    ----------
    rankings : sequence of numpy.ndarray, each float (n_concepts, n_genes)
        Each is tested by itself.
    sets : Members
        The sets.
    """
    import decoupler

    function = decoupler.mt.ulm.func
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
                    # decoupler subtracts one mean for all rows; rows of very different scale would lose digits to it.
                    block = scores[rows]
                    block = (block - block.mean(axis=1, keepdims=True)) / block.std(axis=1, keepdims=True)
                    tested = function(block, membership)
                    statistic[draw, rows, columns], p[draw, rows, columns] = tested
    edge = np.broadcast_to(np.asarray(rankings[0]).mean(axis=1, dtype=np.float64, keepdims=True), (n, terms))
    return Tested(statistic, np.maximum(p, SMALLEST), edge)

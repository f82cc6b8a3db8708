"""What random genes get: matched permutations of rankings, and rates of annotation.

Any share of concepts that "have a term" means nothing without the share that random genes get through the same tests
and the same correction. A random ranking gives each gene the score of another gene of about the same mean expression,
so that lists stay matched in size and expression. Permuting genes breaks their correlation; this null is as easy as
gene permutation is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
import numpy.typing as npt

from cellglass.seeds import generator

Array = npt.NDArray[Any]

GENES_PER_BIN = 50


def expression_bins(mean_expression: Array, *, most: int = 20) -> Array:
    """Return the bin of each gene by mean expression: equally many genes in each, at least `GENES_PER_BIN`.

    There are at most `most` bins. Genes with the same mean share a bin.
    """
    from scipy.stats import rankdata

    n = len(mean_expression)
    bins = max(1, min(most, n // GENES_PER_BIN))
    binned: Array = np.minimum(((rankdata(mean_expression) - 0.5) / n * bins).astype(np.int64), bins - 1)
    return binned


class MatchedDraws(Sequence[Array]):
    """Draw 0 is the real scores; draw i gives each gene the score of a random gene of its bin, anew in each row.

    Draws are made when they are asked for and not kept, so that memory does not grow with their number.
    """

    def __init__(self, scores: Array, bins: Array, draws: int, seed: int) -> None:
        self.scores = scores
        self.bins = bins
        self.draws = draws
        self.seed = seed
        self._by_bin = np.argsort(bins, kind="stable")

    def __len__(self) -> int:
        return self.draws + 1

    @overload
    def __getitem__(self, draw: int) -> Array: ...
    @overload
    def __getitem__(self, draw: slice) -> Sequence[Array]: ...
    def __getitem__(self, draw: int | slice) -> Array | Sequence[Array]:
        if isinstance(draw, slice):
            return [self[i] for i in range(*draw.indices(len(self)))]
        if not 0 <= draw <= self.draws:
            raise IndexError(draw)
        if draw == 0:
            return self.scores
        rng = generator(self.seed, "matched", draw)
        permuted = np.empty_like(self.scores)
        for row, scores in zip(permuted, self.scores, strict=True):
            row[self._by_bin] = scores[np.argsort(rng.random(len(scores)) + self.bins)]
        return permuted


def rejected(small: Array, n_tests: int, alpha: float) -> float:
    """Return the largest p that BH rejects at `alpha`, or -1, given all p <= `alpha` among `n_tests` tests."""
    ordered = np.sort(small)
    passed = np.flatnonzero(ordered <= alpha * np.arange(1, len(ordered) + 1) / n_tests)
    return float(ordered[passed[-1]]) if len(passed) else -1.0


def annotation_rate(concept: Array, p: Array, n_concepts: int, n_terms: int, alpha: float) -> float:
    """Return the share of concepts with at least one term at q < `alpha`.

    Parameters
    ----------
    concept, p : arrays, shape (m,)
        Concept and p-value of every test with p <= `alpha`. Tests that are no finding, such as depletion by a test that
        looks at the top of a ranking alone, count in the correction but annotate nothing: they have concept -1.
    n_concepts, n_terms : int
        All of them; BH runs over ``n_concepts * n_terms`` tests.
    alpha : float
        Level.
    """
    threshold = rejected(p, n_concepts * n_terms, alpha)
    annotated = np.unique(concept[(p <= threshold) & (concept >= 0)])
    return len(annotated) / n_concepts

"""What every test of enrichment takes and gives, so that they can stand in for each other. Does no test itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from cellglass.enrichment.members import Members

Array = npt.NDArray[Any]


class Tested(NamedTuple):
    """Results of one test.

    Attributes
    ----------
    statistic : numpy.ndarray of float64, shape (n_draws, n_concepts, n_terms)
        Above 0 where the genes of a term lie at the top of the ranking. Draw 0 is the real ranking.
    p : numpy.ndarray of float64, same shape
        p-values, never 0.
    edge : numpy.ndarray, shape (n_concepts, n_terms)
        For the real rankings: the score down to which (statistic > 0) or up to which (statistic < 0) the genes of the
        term make up its leading edge.
    """

    statistic: Array
    p: Array
    edge: Array


class GeneSetTest(Protocol):
    """A test with its parameters bound."""

    def __call__(self, rankings: Sequence[Array], sets: Members) -> Tested:
        """Test `sets` in each of `rankings`, (n_concepts, n_genes): draw 0 is real, the rest permute its rows."""


SMALLEST = float(np.finfo(np.float64).tiny)

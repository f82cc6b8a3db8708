"""A gene-set test: the facts that it states about itself, what it takes and what it gives.

Imports nothing heavy, so that asking which tests there are costs nothing. Does no test itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from cellglass.enrichment.config import EnrichmentConfig
    from cellglass.enrichment.members import Members

    Array = npt.NDArray[Any]
    Floats = npt.NDArray[np.float64]

SMALLEST = sys.float_info.min
"""The least p: one of 0 would claim more than any test can."""


class SetStatistics(NamedTuple):
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

    statistic: Floats
    p: Floats
    edge: Array


class BoundTest(Protocol):
    """A test with its parameters bound."""

    def __call__(self, rankings: Sequence[Array], sets: Members) -> SetStatistics:
        """Test `sets` in each of `rankings`, (n_concepts, n_genes): draw 0 is real, the rest permute its rows."""


@dataclass(frozen=True)
class GeneSetTest:
    """A test as the registry knows it: ``ENTRY`` of a file, or the entry point of another package."""

    name: str
    """As in configurations and in the column `test` of pathways."""
    title: str
    """As people write it."""
    one_sided: bool
    """Whether it looks at the top of a ranking alone, so that its leading edge lies there whatever the statistic."""
    wants: Literal["raw", "normal"]
    """``raw``: scores as they are. ``normal``: heavy tails mislead it, so effects of genes enter as normal scores."""
    null_draws: int
    """Matched random rankings for each concept, unless the configuration says otherwise."""
    cost: str
    """What its time grows with, in one sentence."""
    bind: Callable[[EnrichmentConfig, int, int | None], BoundTest]
    """``bind(config, seed, workers)``: the test with its parameters; `workers` are threads, None for one a core."""

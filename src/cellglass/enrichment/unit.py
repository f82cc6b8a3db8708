"""One source and one test: real and matched random rankings, in pieces of the source so that memory is bounded."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cellglass.enrichment.base import BoundTest
from cellglass.enrichment.calibrate import Calibration, signed_z
from cellglass.enrichment.members import Members
from cellglass.enrichment.null import MatchedDraws, annotation_rate
from cellglass.statistics import benjamini_hochberg

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]

BEST = 20
"""Terms of each concept that are kept however high their p."""
LEADING_EDGE = 50
"""Most genes of a leading edge that are named."""
_BYTES = 200_000_000


class Unit:
    """One source and one test.

    Parameters
    ----------
    rankings : MatchedDraws
        Scores of concepts x genes, real and random.
    sets : Members
        The terms.
    test : BoundTest
    one_sided : bool
        Whether the leading edge lies at the top of a ranking whatever the statistic; see `GeneSetTest`.
    alpha : float
        Level of the rates, and of p for a row to be kept.
    """

    def __init__(
        self, rankings: MatchedDraws, sets: Members, test: BoundTest, *, one_sided: bool, alpha: float
    ) -> None:
        self.rankings, self.sets, self.test = rankings, sets, test
        self.one_sided, self.alpha = one_sided, alpha
        shape = (len(rankings.scores), len(sets.terms))
        self.statistic, self.p = np.zeros(shape), np.ones(shape)
        self.edge = np.zeros(shape, dtype=rankings.scores.dtype)
        self.calibration = Calibration(*shape, rankings.draws, one_sided=one_sided)
        self.small: list[list[tuple[Array, Array]]] = [[] for _ in range(len(rankings))]

    def run(self, progress: partial[None]) -> None:
        """Test every term in every ranking; `progress` hears of terms."""
        n, terms = self.p.shape
        width = max(1, _BYTES // (24 * n * len(self.rankings)))
        for first in range(0, terms, width):
            columns = slice(first, min(first + width, terms))
            tested = self.test(self.rankings, self.sets.take(columns))
            self.statistic[:, columns], self.p[:, columns] = tested.statistic[0], tested.p[0]
            self.edge[:, columns] = tested.edge
            if self.rankings.draws:
                z = signed_z(tested.p, tested.statistic)
                self.calibration.add(columns, z[0], z[1:])
            for draw, found in enumerate(self.small):
                concept, term = np.nonzero(tested.p[draw] <= self.alpha)
                statistic = tested.statistic[draw, concept, term]
                counts = statistic > 0 if self.one_sided else statistic != 0
                found.append((np.where(counts, concept, -1), tested.p[draw, concept, term]))
            progress(columns.stop, terms)

    def rate(self, about: Mapping[str, Any]) -> dict[str, Any]:
        """Return how many concepts have a term, really and by chance, beside `about`; see `EnrichmentResult`."""
        n, terms = self.p.shape
        shares = []
        for found in self.small:
            concept, p = (np.concatenate([pair[i] for pair in found]) for i in (0, 1))
            shares.append(annotation_rate(concept, p, n, terms, self.alpha))
        null = np.array(shares[1:])
        calibrated = self.calibration.rates(self.alpha) if len(null) else (float("nan"), float("nan"))
        return {
            **about,
            "value": shares[0],
            "null": float(null.mean()) if len(null) else float("nan"),
            "null_sd": float(null.std(ddof=1)) if len(null) > 1 else float("nan"),
            "calibrated": calibrated[0],
            "calibrated_null": calibrated[1],
            "draws": len(null),
            "n_concepts": n,
            "n_terms": terms,
            "n_tests": n * terms,
            "alpha": self.alpha,
        }

    def table(self, concepts: Array, names: list[str], about: Mapping[str, str]) -> pd.DataFrame:
        """Return the rows that are kept, in the order of concepts and p; see `EnrichmentResult`.

        Parameters
        ----------
        concepts : int array, shape (n_concepts,)
            Their numbers.
        names : list of str
            Symbols of the genes.
        about : mapping
            ``source``, ``test`` and ``ranking``.
        """
        import pandas as pd

        terms = self.p.shape[1]
        q = benjamini_hochberg(self.p)
        null_q = self.calibration.null_q() if self.rankings.draws else np.full(self.p.shape, np.nan)
        order = np.lexsort((-np.abs(self.statistic), self.p), axis=1)
        place = np.empty_like(order)
        np.put_along_axis(place, order, np.broadcast_to(np.arange(terms), order.shape), axis=1)
        kept = (self.p < self.alpha) | (null_q < self.alpha) | (place < BEST)
        rows, at = np.nonzero(kept)
        by_rank = np.lexsort((place[rows, at], rows))
        rows, at = rows[by_rank], at[by_rank]
        symbols = np.array(names, dtype=object)
        edges = [self._leading_edge(int(c), int(t), symbols) for c, t in zip(rows, at, strict=True)]
        return pd.DataFrame(
            {
                "concept": concepts[rows].astype(np.int32),
                "source": about["source"],
                "term": np.array(self.sets.terms, dtype=object)[at],
                "test": about["test"],
                "ranking": about["ranking"],
                "statistic": self.statistic[rows, at].astype(np.float32),
                "p": self.p[rows, at],
                "q": q[rows, at],
                "null_q": null_q[rows, at].astype(np.float32),
                "n_genes": self.sets.sizes[at].astype(np.int32),
                "leading_edge": np.array(edges, dtype=object),
            }
        )

    def _leading_edge(self, concept: int, term: int, symbols: Array) -> str:
        genes = self.sets.genes_of(term)
        scores, edge = self.rankings.scores[concept, genes], self.edge[concept, term]
        statistic = self.statistic[concept, term]
        if statistic == 0:
            return ""
        sign = 1 if self.one_sided or statistic > 0 else -1
        inside = sign * scores >= sign * edge
        order = np.argsort(-sign * scores[inside], kind="stable")[:LEADING_EDGE]
        return ";".join(symbols[genes[inside][order]])

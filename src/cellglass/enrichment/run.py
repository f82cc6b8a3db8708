"""From scores of genes to pathways: every source and test, real and matched random rankings, one table, null rates.

One source and one test can be run alone and give the same rows. Where scores come from and where the table goes is not
known here; the tests are in ``gsea.py``, ``ulm.py`` and ``ora.py``, the null in ``null.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cellglass.enrichment.calibrate import Calibration, signed_z
from cellglass.enrichment.genesets import GeneSets
from cellglass.enrichment.gsea import gsea
from cellglass.enrichment.members import Members, members, one_gene_per_symbol
from cellglass.enrichment.null import MatchedDraws, annotation_rate, benjamini_hochberg, expression_bins
from cellglass.enrichment.ora import ora
from cellglass.enrichment.result import GeneSetTest
from cellglass.enrichment.ulm import ulm
from cellglass.errors import InputError
from cellglass.progress import Progress, silent
from cellglass.seeds import derive

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]

TESTS = ("gsea", "ulm", "ora")
NULL_DRAWS: Mapping[str, int] = {"gsea": 10, "ulm": 20, "ora": 20}
COLUMNS = ("concept", "source", "term", "test", "ranking", "statistic", "p", "q", "null_q", "n_genes", "leading_edge")
BEST = 20
LEADING_EDGE = 50
_BYTES = 200_000_000


@dataclass(frozen=True)
class EnrichmentResult:
    """Pathways and how often random genes get one.

    Attributes
    ----------
    pathways : pandas.DataFrame
        Columns `COLUMNS`: concept (int32), source, term, test, ranking (str), statistic (float32), p, q (float64; BH
        within source, test and ranking over all concepts and terms), null_q (float32; false discovery rate against
        matched random genes), n_genes (int32, measured genes of the term), leading_edge (str: at most `LEADING_EDGE`
        symbols joined by ``;``, most extreme first). Rows with p < `alpha` and, of each concept, the `BEST` rows with
        the lowest p; the corrections ran over all.
    rates : list of dict
        One for each source and test: share of concepts with an enriched term at q < `alpha` (``value``), the same for
        matched random genes (``null``, mean over ``draws`` draws, ``null_sd`` over them); ``calibrated`` and
        ``calibrated_null``, the same with null_q < `alpha`; and how many concepts, terms and tests.
    """

    pathways: pd.DataFrame
    rates: list[dict[str, Any]]


def enrich(
    scores: pd.DataFrame | Array,
    symbols: Sequence[str],
    mean_expression: Sequence[float] | Array,
    sources: Sequence[GeneSets],
    *,
    tests: Sequence[str] = TESTS,
    top_n: int = 50,
    n_permutations: int = 1000,
    null_draws: int | Mapping[str, int] = NULL_DRAWS,
    min_size: int = 5,
    max_size: int = 500,
    alpha: float = 0.05,
    seed: int = 0,
    ranking: str = "path",
    workers: int | None = None,
    progress: Progress = silent,
) -> EnrichmentResult:
    r"""Test every gene set in the ranking of every concept, and do the same with matched random genes.

    Parameters
    ----------
    scores : DataFrame or array, shape (n_concepts, n_genes)
        What genes are ranked by, such as path effects; finite. A DataFrame's index holds the concepts' numbers.
    symbols : sequence of str
        Symbol of each gene. Of genes that share one the most expressed is kept; genes with an empty symbol count as
        background.
    mean_expression : sequence of float
        Mean expression of each gene, by which random genes are matched.
    sources : sequence of GeneSets
        Corrected for multiple testing each by itself.
    tests : sequence of str
        Some of ``gsea``, ``ulm``, ``ora``.
    top_n : int
        Longest gene list of ``ora``.
    n_permutations : int
        Random sets for each size in ``gsea``.
    null_draws : int or mapping of test to int
        Matched random rankings for each concept; 0 leaves null rates and null_q empty (NaN).
    min_size, max_size : int
        Sets with fewer or more measured genes are left out.
    alpha : float
        Level of the rates, and of p for a row to be kept.
    seed : int
        Same seed, same result; sources and tests draw from streams of their own.
    ranking : str
        What `scores` are, for the column of that name.
    workers : int, optional
        Threads of ``gsea``; the result does not depend on them.

    Notes
    -----
    ``null_q`` is the false discovery rate against matched random genes, with each term on the scale of its own null:
    see `cellglass.enrichment.calibrate`. It is one-sided: it asks for enrichment.

    Raises
    ------
    InputError
        If shapes do not fit, scores are not finite, a test or source is unknown or comes twice, or no set is left.
    """
    import pandas as pd

    values, concepts = _check(scores, symbols, mean_expression, sources, tests)
    expression = np.asarray(mean_expression, dtype=np.float64)
    keep = one_gene_per_symbol(symbols, expression)
    values, names, bins = values[:, keep], [symbols[i] for i in keep], expression_bins(expression[keep])
    draws = dict.fromkeys(TESTS, null_draws) if isinstance(null_draws, int) else {**NULL_DRAWS, **null_draws}
    if any(count < 0 for count in draws.values()):
        raise InputError(f"enrichment: {min(draws.values())} null draws cannot be made; use 0 or more")
    tables, rates = [], []
    for source in sources:
        sets = members(source, names, min_size=min_size, max_size=max_size)
        for name in tests:
            unit = partial(progress, f"{source.name} {name}")
            drawn = MatchedDraws(values, bins, draws[name], derive(seed, "enrichment", source.name, name))
            work = _Unit(drawn, sets, _test(name, top_n, n_permutations, derive(seed, "enrichment"), workers), alpha)
            work.run(unit)
            about = {"source": source.name, "test": name, "ranking": ranking}
            tables.append(work.table(concepts, names, about, upward=name == "ora"))
            rates.append(work.rate(about))
    return EnrichmentResult(pd.concat(tables, ignore_index=True), rates)


class _Unit:
    """One source and one test, in pieces of the source so that memory is bounded."""

    def __init__(self, rankings: MatchedDraws, sets: Members, test: GeneSetTest, alpha: float) -> None:
        self.rankings, self.sets, self.test, self.alpha = rankings, sets, test, alpha
        shape = (len(rankings.scores), len(sets.terms))
        self.statistic, self.p = np.zeros(shape), np.ones(shape)
        self.edge = np.zeros(shape, dtype=rankings.scores.dtype)
        self.calibration = Calibration(*shape, rankings.draws)
        self.small: list[list[tuple[Array, Array]]] = [[] for _ in range(len(rankings))]

    def run(self, progress: partial[None]) -> None:
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
                enriched = tested.statistic[draw, concept, term] > 0
                found.append((np.where(enriched, concept, -1), tested.p[draw, concept, term]))
            progress(columns.stop, terms)

    def rate(self, about: Mapping[str, Any]) -> dict[str, Any]:
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

    def table(self, concepts: Array, names: list[str], about: Mapping[str, str], *, upward: bool) -> pd.DataFrame:
        import pandas as pd

        terms = self.p.shape[1]
        q = benjamini_hochberg(self.p)
        null_q = np.full(self.p.shape, np.nan)
        if self.rankings.draws:
            null_q = self.calibration.null_q()
        order = np.lexsort((-np.abs(self.statistic), self.p), axis=1)
        place = np.empty_like(order)
        np.put_along_axis(place, order, np.broadcast_to(np.arange(terms), order.shape), axis=1)
        kept = (self.p < self.alpha) | (place < BEST)
        rows, at = np.nonzero(kept)
        by_rank = np.lexsort((place[rows, at], rows))
        rows, at = rows[by_rank], at[by_rank]
        symbols = np.array(names, dtype=object)
        edges = [self._leading_edge(int(c), int(t), symbols, upward) for c, t in zip(rows, at, strict=True)]
        table = pd.DataFrame(
            {
                "concept": concepts[rows].astype(np.int32),
                "term": np.array(self.sets.terms, dtype=object)[at],
                "statistic": self.statistic[rows, at].astype(np.float32),
                "p": self.p[rows, at],
                "q": q[rows, at],
                "null_q": null_q[rows, at].astype(np.float32),
                "n_genes": self.sets.sizes[at].astype(np.int32),
                "leading_edge": np.array(edges, dtype=object),
            }
        )
        return table.assign(**about)[list(COLUMNS)]

    def _leading_edge(self, concept: int, term: int, symbols: Array, upward: bool) -> str:
        genes = self.sets.genes_of(term)
        scores, edge = self.rankings.scores[concept, genes], self.edge[concept, term]
        statistic = self.statistic[concept, term]
        if statistic == 0:
            return ""
        sign = 1 if upward or statistic > 0 else -1
        inside = sign * scores >= sign * edge
        order = np.argsort(-sign * scores[inside], kind="stable")[:LEADING_EDGE]
        return ";".join(symbols[genes[inside][order]])


def _test(name: str, top_n: int, n_permutations: int, seed: int, workers: int | None) -> GeneSetTest:
    if name == "gsea":
        return partial(gsea, n_permutations=n_permutations, seed=seed, workers=workers)
    return partial(ora, top_n=top_n) if name == "ora" else ulm


def _check(
    scores: pd.DataFrame | Array,
    symbols: Sequence[str],
    mean_expression: Sequence[float] | Array,
    sources: Sequence[GeneSets],
    tests: Sequence[str],
) -> tuple[Array, Array]:
    """Return scores as an array and the concepts' numbers, or say what does not fit."""
    index = getattr(scores, "index", None)
    values = np.asarray(scores)
    if values.ndim != 2 or 0 in values.shape:
        raise InputError(f"enrichment: scores have shape {values.shape}; expected (concepts, genes), neither empty")
    if not values.shape[1] == len(symbols) == len(mean_expression):
        raise InputError(
            f"enrichment: scores have {values.shape[1]} genes, but there are {len(symbols)} symbols and "
            f"{len(mean_expression)} mean expressions; give one of each for every gene"
        )
    if not np.isfinite(values).all():
        row, gene = np.argwhere(~np.isfinite(values))[0]
        raise InputError(
            f"enrichment: the score of gene {symbols[gene]!r} in row {row} is {values[row, gene]}; give finite scores"
        )
    if not np.isfinite(np.asarray(mean_expression, dtype=np.float64)).all():
        raise InputError("enrichment: mean expression holds NaN or infinity; give finite values")
    for test in tests:
        if test not in TESTS:
            raise InputError(f"enrichment: no test {test!r}; use some of {', '.join(TESTS)}")
    names = [source.name for source in sources]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"enrichment: gene-set source {repeated[0]!r} comes twice; give each a name of its own")
    if not sources or not tests:
        raise InputError("enrichment: nothing to test; give at least one source of gene sets and one test")
    concepts = np.arange(len(values)) if index is None else np.asarray(index)
    return values if values.dtype.kind == "f" else values.astype(np.float64), concepts

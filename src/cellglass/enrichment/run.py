"""From scores of genes to pathways: every source and test, real and matched random rankings, one table, null rates.

One source and one test can be run alone and give the same rows. Where scores come from and where the table goes is not
known here; a test is one file (such as ``gsea.py``), the null is in ``null.py``, one source with one test in
``unit.py``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from cellglass.enrichment.config import EnrichmentConfig
from cellglass.enrichment.genesets import GeneSets
from cellglass.enrichment.members import members, one_gene_per_symbol
from cellglass.enrichment.null import MatchedDraws, expression_bins
from cellglass.enrichment.registry import TESTS
from cellglass.enrichment.unit import Unit
from cellglass.errors import InputError
from cellglass.progress import Progress, silent
from cellglass.seeds import derive

if TYPE_CHECKING:
    import pandas as pd

Array = npt.NDArray[Any]

_FAR = 1e100


@dataclass(frozen=True)
class EnrichmentResult:
    """Pathways and how often random genes get one.

    Attributes
    ----------
    pathways : pandas.DataFrame
        concept (int32), source, term, test, ranking (str), statistic (float32), p, q (float64; BH within source, test
        and ranking over all concepts and terms), null_q (float32; false discovery rate against expression-matched
        random genes), n_genes (int32, measured genes of the term), leading_edge (str: at most 50 symbols joined by
        ``;``, most extreme first). Rows with p or null_q < `alpha` and, of each concept, the 20 rows with the lowest p;
        the corrections ran over all.
    rates : list of dict
        One for each source and test: share of concepts with an enriched or, by a test that sees both ends of a ranking,
        depleted term at q < `alpha` (``value``), the same for
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
    config: EnrichmentConfig = EnrichmentConfig(),  # noqa: B008  # frozen
    *,
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
        Corrected for multiple testing each by itself; `config.gene_sets` only names such and is not read here.
    config : EnrichmentConfig
        Which tests, with which parameters.
    seed : int
        Same seed, same result; sources and tests draw from streams of their own.
    ranking : str
        What `scores` are, for the column of that name.
    workers : int, optional
        Threads of tests that use any; the result does not depend on them.
    progress : Progress
        Told of terms that are done.

    Notes
    -----
    ``null_q`` is the false discovery rate against expression-matched random genes, with each term on the scale of its
    own null: see `cellglass.enrichment.calibrate`. It is the claim: q takes genes for exchangeable, so that lists of
    highly expressed genes get some set however they came about. Enriched and depleted terms (``statistic`` above and
    below 0) are counted each among themselves; a test that looks at the top of a ranking alone finds no depletion.

    Raises
    ------
    InputError
        If shapes do not fit, scores are not finite, a source comes twice, or no set is left.
    """
    import pandas as pd

    values, concepts = _check(scores, symbols, mean_expression, sources)
    expression = np.asarray(mean_expression, dtype=np.float64)
    keep = one_gene_per_symbol(symbols, expression)
    values, names, bins = values[:, keep], [symbols[i] for i in keep], expression_bins(expression[keep])
    tables, rates = [], []
    for source in sources:
        sets = members(source, names, min_size=config.min_size, max_size=config.max_size)
        for name in config.tests:
            test, about = TESTS[name], {"source": source.name, "test": name, "ranking": ranking}
            draws = test.null_draws if config.null_draws is None else config.null_draws
            drawn = MatchedDraws(values, bins, draws, derive(seed, "enrichment", source.name, name))
            bound = test.bind(config, derive(seed, "enrichment"), workers)
            unit = Unit(drawn, sets, bound, one_sided=test.one_sided, alpha=config.alpha)
            unit.run(partial(progress, f"{source.name} {name}"))
            tables.append(unit.table(concepts, names, about))
            rates.append(unit.rate(about))
    return EnrichmentResult(pd.concat(tables, ignore_index=True), rates)


def _check(
    scores: pd.DataFrame | Array,
    symbols: Sequence[str],
    mean_expression: Sequence[float] | Array,
    sources: Sequence[GeneSets],
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
    names = [source.name for source in sources]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise InputError(f"enrichment: gene-set source {repeated[0]!r} comes twice; give each a name of its own")
    if not sources:
        raise InputError("enrichment: nothing to test; give at least one source of gene sets")
    concepts = np.arange(len(values)) if index is None else np.asarray(index)
    return _in_range(values if values.dtype.kind == "f" else values.astype(np.float64)), concepts


def _in_range(values: Array) -> Array:
    """Scale rows whose sums or squares would be infinite or vanish, by a power of two: no test depends on the scale."""
    largest = np.abs(values).max(axis=1, keepdims=True).astype(np.float64)
    extreme = (largest > 0) & ((largest < 1 / _FAR) | (largest > _FAR))
    return np.ldexp(values, np.where(extreme, -np.frexp(largest)[1], 0)) if extreme.any() else values

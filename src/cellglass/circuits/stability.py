r"""How stable genes and features of a circuit are: over cells of a type, dropped-out counts, order of equal counts.

    cells      every cell against every other, over the genes that both hold
    dropout    the cell against itself with each count thinned, count' ~ Binomial(count, kept)
    ties       the cell against itself with equal counts in another order (Cell2Sentence)

Of each pair: Spearman's correlation of the genes' effects over genes that both have, and of the strongest 10 and 50
genes and features the Jaccard index, |A and B| / |A or B|; features are (layer, feature) with their effects added up
over tokens, the strongest those of largest size. A ranking is no more certain than that.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence, Set
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.cells.cells import Cells
from cellglass.cells.thinning import thinned
from cellglass.circuits.answers import Target
from cellglass.circuits.asked import Asked, ask
from cellglass.circuits.choice import strengths, units
from cellglass.circuits.features import StandIns
from cellglass.circuits.genes import by_gene, token_effects
from cellglass.errors import InputError
from cellglass.models.transformer.model import TransformerModel
from cellglass.seeds import generator

Array = np.ndarray[Any, Any]

TOP = (10, 50)
_FEWEST = 3
"""Genes in common below which there is no correlation."""


class Strengths(NamedTuple):
    """Total effects on an answer in one cell.

    Attributes
    ----------
    genes : pandas.Series
        By symbol.
    features : pandas.Series
        By layer and feature.
    """

    genes: pd.Series[Any]
    features: pd.Series[Any]


def strengths_of(one: Asked) -> Strengths:
    """Return the total effects of genes and of whole features on the first answer."""
    made = units(one.replacement, "whole")
    values = made.fold(strengths(one.frozen, one.replacement, one.answers, "total"))
    index = pd.MultiIndex.from_arrays([made.layer, made.latent], names=["layer", "feature"])
    return Strengths(by_gene(token_effects(one), one.question.genes), pd.Series(values, index=index))


def stability_of(
    model: TransformerModel,
    cells: Cells,
    transcoders: StandIns,
    target: Target,
    against: Target | None = None,
    *,
    draws: int = 5,
    kept: float = 0.8,
    top: Sequence[int] = TOP,
    seed: int = 0,
) -> pd.DataFrame:
    """Return how the genes and features behind an answer agree.

    Parameters
    ----------
    model
    cells
        Of one type; one cell at least.
    transcoders, target, against
        As of `ask`.
    draws
        Thinned cells, and orders of ties, for each cell.
    kept
        Share of the counts that a thinned cell keeps.
    top
        Numbers of strongest genes and features to compare.
    seed

    Returns
    -------
    pandas.DataFrame
        Index ``over`` (``cells``, ``dropout``, ``ties``) and ``measure`` (``genes spearman``, ``genes top 10``, ...,
        ``features top 10``, ...); columns ``mean``, ``sd``, ``low``, ``high`` over pairs, and ``pairs``. A part that
        there is not is left out: cells of one cell, ties of a model that has none.

    Notes
    -----
    A draw of which the question cannot be asked, such as a gene that dropped out, is left out.
    """
    if not cells.n_cells:
        raise InputError("there are no cells; give at least one")
    if not 0 < kept < 1:
        raise InputError(f"kept is {kept}; it is the share of counts that stay, between 0 and 1")
    if draws < 1:
        raise InputError(f"draws is {draws}; it must be at least 1")
    cells = model.align(cells)
    rng = generator(seed, "stability")
    own: list[Strengths] = []
    pairs: dict[str, list[tuple[Strengths, Strengths]]] = {"dropout": [], "ties": []}
    for i in range(cells.n_cells):
        cell = cells[i : i + 1]
        own.append(strengths_of(ask(model, cell, transcoders, target, against)))
        for _ in range(draws):
            try:
                other = ask(model, cell.with_counts(thinned(cell.counts, kept, rng)), transcoders, target, against)
            except InputError:
                continue
            pairs["dropout"].append((own[-1], strengths_of(other)))
        for _ in range(draws if model.kind == "cell2sentence" else 0):
            ties = rng.permutation(cell.counts.nnz)
            other = ask(model, cell, transcoders, target, against, ties=ties)
            pairs["ties"].append((own[-1], strengths_of(other)))
    return _table({"cells": list(itertools.combinations(own, 2)), **pairs}, top)


def _table(pairs: dict[str, list[tuple[Strengths, Strengths]]], top: Sequence[int]) -> pd.DataFrame:
    rows = {}
    for over, some in pairs.items():
        if not some:
            continue
        found: dict[str, list[float]] = {"genes spearman": [spearman(a.genes, b.genes) for a, b in some]}
        for what, n in itertools.product(("genes", "features"), top):
            found[f"{what} top {n}"] = [jaccard(getattr(a, what), getattr(b, what), n) for a, b in some]
        for measure, values in found.items():
            x = np.array(values)[~np.isnan(values)]
            sd = float(x.std(ddof=1)) if len(x) > 1 else float("nan")
            ends = (x.mean(), sd, x.min(), x.max()) if len(x) else (float("nan"),) * 4
            rows[over, measure] = [*ends, len(x)]
    index = pd.MultiIndex.from_tuples(list(rows), names=["over", "measure"])
    columns = ["mean", "sd", "low", "high", "pairs"]
    return pd.DataFrame(list(rows.values()), index=index, columns=columns).astype({"pairs": int})


def spearman(a: pd.Series[Any], b: pd.Series[Any]) -> float:
    """Return Spearman's correlation over what both have; NaN of fewer than three."""
    both = a.index.intersection(b.index)
    return float(a[both].corr(b[both], method="spearman")) if len(both) >= _FEWEST else float("nan")


def jaccard(a: pd.Series[Any], b: pd.Series[Any], n: int) -> float:
    """Return the Jaccard index of the n entries of largest size of each; NaN where either has fewer."""
    if min(len(a), len(b)) < n:
        return float("nan")
    return overlap(*(set(one.abs().nlargest(n).index) for one in (a, b)))


def overlap(first: Set[Any], second: Set[Any]) -> float:
    """Return |A and B| / |A or B|; NaN of nothing."""
    both = len(first | second)
    return len(first & second) / both if both else float("nan")

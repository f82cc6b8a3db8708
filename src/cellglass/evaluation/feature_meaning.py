r"""What each unit of a layer fires on, a written rule of when that is a meaning, and a name made by machine.

Cells are in two halves (``feature_sums.py``): everything that is chosen is chosen on one and scored on the other.

**The rule.** A unit is *gene-level interpretable* if

1. it fires on gene tokens: at least `Rule.on_genes` (half) of its activation mass on the scoring half is on tokens of
   genes, and on both halves it fires on at least `Rule.fewest` (10) pairs of a cell and a gene; and
2. either **few genes**: those `Rule.most_genes` (5) genes that carry most of its mass on the choosing half carry at
   least `Rule.mass` (half) of its mass over genes on the scoring half, and at least `Rule.lift` (2) times the share
   that they have of all genes read there;
3. or **a gene set**: the set with the least null_q on the choosing half, below `Rule.q` (0.05), has a null_q below it
   on the scoring half too;
4. and it is no matter of **spelling**: it is not so that one piece of text carries at least `Rule.mass` of its mass on
   tokens of genes (the piece is chosen on one half, its share is that of the other) while no one gene does.

A language model reads a symbol in pieces, so that a feature of the piece "CD" fires on the genes CD3D, CD37 and CD74,
and then on sets of T cells, for no other reason than their names. Where each gene is a token, 4 holds always.

Its mass over genes is the sum over cells and genes of the largest activation on the gene's tokens. The gene sets are
tested by over-representation (ORA) among the genes of highest mean activation, a fifth of the genes that are read at
most, and 50; null_q is the false discovery rate against random genes that are read about as often
(`cellglass.enrichment`). Genes that are read in no cell are no background. On the scoring half those units alone are
tested that have a set.

**Gene identity, held out.** With the mean of each gene :math:`m_g` and of all :math:`m` from the choosing half, over
the pairs of a cell and a gene of the scoring half,

.. math:: 1 - \sum (a - m_{g})^2 \Big/ \sum (a - m)^2

within 0 and 1: the share of its variance that knowing the gene explains (:math:`\eta^2`, held out); a gene that the
choosing half never reads counts with :math:`m`.

What a rate of such units means is said by controls alone: see ``feature_rate.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp

from cellglass.circuits.meanings import MACHINE
from cellglass.circuits.objectives import GENE
from cellglass.enrichment.config import EnrichmentConfig
from cellglass.enrichment.genesets import GeneSets
from cellglass.enrichment.names import LABEL_F1
from cellglass.enrichment.run import enrich
from cellglass.errors import InputError
from cellglass.evaluation.alignment import label_of_concepts
from cellglass.evaluation.feature_sums import CHOOSE, KINDS, SCORE, UnitSums
from cellglass.evaluation.tokens import GeneSums
from cellglass.seeds import derive

Array = np.ndarray[Any, Any]

GENES_TOLD = 20
"""Most genes of a feature that are written."""
NAMED_GENES = 3
TOP = 50
_PART = 0.1  # of its mass, that a gene is named for
_ALONE = 0.8  # of its mass, that a kind of token is named for
_LONGEST = 60


@dataclass(frozen=True)
class Rule:
    """When a unit is gene-level interpretable; see the module."""

    on_genes: float = 0.5
    """Least share of its activation mass on tokens of genes."""
    most_genes: int = 5
    """Most genes that count as few."""
    mass: float = 0.5
    """Least share of its mass over genes that they carry."""
    lift: float = 2.0
    """Least ratio of that share to their share of all genes read."""
    q: float = 0.05
    """Level of the gene set on either half."""
    fewest: int = 10
    """Fewest pairs of a cell and a gene on which it fires, on either half."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            low = 1 if name in ("most_genes", "fewest") else 0
            high = 1 if name in ("on_genes", "mass", "q") else np.inf
            if not low <= value <= high:
                raise InputError(f"the rule's {name} is {value}; it lies between {low} and {high}")


class Meanings(NamedTuple):
    """What units fire on.

    Attributes
    ----------
    features : pandas.DataFrame
        One row a unit: ``layer``, ``feature``; ``name``, made by machine, and ``named_by``, which says so;
        ``interpretable`` and ``why``: ``genes``, ``gene set``, ``spelling`` or nothing; ``enough``, whether it fires
        often enough to be judged; ``frequency``, share of tokens at which it is active; ``on_prompt``, ``on_gene``,
        ``on_question`` (and special tokens), ``on_hidden``, ``on_answer``, shares of its activation mass on kinds of
        tokens; ``cells``, in which it fires; ``gene_identity``; ``genes``, its top genes; ``top_mass`` and
        ``top_lift``, what they carry on the scoring half, ``first_mass``, what the first does, and ``piece_mass``, what
        one piece of text does; ``source``, ``term``, ``null_q``, ``held_out_null_q``, its gene set; ``label_column``,
        ``label``, ``f1``, ``f1_null``, ``label_q``, the label that its cells have, held out. NaN where there is nothing
        to tell.
    genes : pandas.DataFrame
        ``layer``, ``feature``, ``gene``, ``mean`` (activation over the cells that read the gene), ``cells`` (in which
        it fires on the gene), ``read`` (cells that read it), ``part`` (the gene's share of its mass over genes): at
        most 20 of each unit, over both halves, by falling part.
    """

    features: pd.DataFrame
    genes: pd.DataFrame


def meanings_of(
    sums: Sequence[UnitSums],
    symbols: Sequence[str],
    sources: Sequence[GeneSets] = (),
    labels: pd.DataFrame | None = None,
    *,
    rule: Rule = Rule(),  # frozen
    seed: int = 0,
) -> Meanings:
    """Return what the units of every layer fire on.

    Parameters
    ----------
    sums : sequence of UnitSums
        Of each layer.
    symbols : sequence of str
        Of the genes.
    sources : sequence of GeneSets
        In these symbols.
    labels : pandas.DataFrame, optional
        Of the same cells, a column for each label.
    rule : Rule
    seed : int
    """
    tables, genes = [], []
    for layer, one in enumerate(sums):
        table = _facts(one, symbols, rule)
        table.insert(0, "layer", layer)
        found = _gene_sets(one, symbols, sources, table["enough"].to_numpy(), rule, derive(seed, "gene sets", layer))
        tables.append(table.join(found))
        genes.append(_top_genes(one, symbols, layer))
    features = pd.concat(tables, ignore_index=True)
    features = features.join(_labels(sums, labels, seed))
    fires = features["enough"] & (features["scored_on_gene"] >= rule.on_genes)
    few = fires & (features["top_mass"] >= rule.mass) & (features["top_lift"] >= rule.lift)
    in_set = fires & (features["null_q"] < rule.q) & (features["held_out_null_q"] < rule.q)
    spelling = (few | in_set) & (features["piece_mass"] >= rule.mass) & ~(features["first_mass"] >= rule.mass)
    features["why"] = np.select([spelling, few, in_set], ["spelling", "genes", "gene set"], "")
    features["interpretable"] = (few | in_set) & ~spelling
    features["named_by"] = MACHINE
    features["name"] = [_name(row) for row in features.to_dict(orient="records")]
    return Meanings(features[list(COLUMNS)], pd.concat(genes, ignore_index=True))


COLUMNS = (
    *("layer", "feature", "name", "named_by", "interpretable", "why", "enough", "frequency"),
    *(f"on_{kind}" for kind in KINDS),
    *(
        "cells",
        "gene_identity",
        "genes",
        "top_mass",
        "top_lift",
        "first_mass",
        "piece_mass",
        "source",
        "term",
        "null_q",
        "held_out_null_q",
    ),
    *("label_column", "label", "f1", "f1_null", "label_q"),
)
"""Of the table of features."""


def held_out_identity(choose: GeneSums, score: GeneSums) -> Array:
    """Return the share of each unit's variance that the gene explains, held out, (units,); NaN where it never varies.

    Parameters
    ----------
    choose, score : GeneSums
        The means of genes are those of the first, the variance is of the second.
    """
    n, n_score = int(choose.tokens.sum()), int(score.tokens.sum())
    if not n or not n_score:
        return np.full(score.n_latents, np.nan)
    known = choose.tokens > 0
    overall = np.asarray(choose.total.sum(axis=1)).ravel() / n
    sums = np.asarray(score.total.sum(axis=1)).ravel()
    weight = np.divide(1.0, choose.tokens, out=np.zeros(len(known)), where=known)
    means = choose.total.multiply(weight[None, :]).tocsr()
    unseen = np.asarray(score.total[:, np.flatnonzero(~known)].sum(axis=1)).ravel()
    explained = 2 * np.asarray(means.multiply(score.total).sum(axis=1)).ravel() + 2 * overall * unseen
    explained -= np.asarray(means.multiply(means) @ score.tokens.astype(np.float64)).ravel()
    explained -= np.square(overall) * score.tokens[~known].sum()
    chance = 2 * overall * sums - np.square(overall) * n_score
    total = score.squares - chance
    with np.errstate(divide="ignore", invalid="ignore"):
        share = 1 - (score.squares - explained) / total
    return np.where(total > 1e-12 * np.maximum(score.squares, 1e-300), np.clip(share, 0, 1), np.nan)


# -- facts of a layer --------------------------------------------------------------------------------------------------


def _facts(one: UnitSums, symbols: Sequence[str], rule: Rule) -> pd.DataFrame:
    choose, score = one.genes
    mass = one.mass.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        shares = mass / mass.sum(axis=0)
        scored = one.mass[SCORE, GENE] / one.mass[SCORE].sum(axis=0)
    table = pd.DataFrame({"feature": np.arange(one.n_units), "frequency": one.frequency})
    for kind, share in zip(KINDS, shares, strict=True):
        table[f"on_{kind}"] = share
    table["scored_on_gene"] = scored
    table["cells"] = np.diff(one.by_cell.indptr)
    table["gene_identity"] = held_out_identity(choose, score)
    fired = [np.asarray(sums.active.sum(axis=1)).ravel() for sums in one.genes]
    table["enough"] = (fired[CHOOSE] >= rule.fewest) & (fired[SCORE] >= rule.fewest)
    top = _largest(choose.total, rule.most_genes)
    is_top = _marked(top, score.total.shape)
    read = score.tokens / max(1, score.tokens.sum())
    pieces = [matrix.copy() for matrix in one.pieces]
    for matrix in pieces:
        matrix.resize(one.n_units, max(each.shape[1] for each in one.pieces))
    with np.errstate(divide="ignore", invalid="ignore"):
        table["top_mass"] = _carried(score.total, top)
        table["top_lift"] = table["top_mass"] / (is_top @ read)
        table["first_mass"] = _carried(score.total, _largest(choose.total, 1))
        table["piece_mass"] = _carried(pieces[SCORE], _largest(pieces[CHOOSE], 1))
    table["genes"] = [";".join(symbols[gene] for gene in genes.tolist()) for genes, _ in top]
    table["named_genes"] = [
        ", ".join(symbols[gene] for gene in genes[:NAMED_GENES][parts[:NAMED_GENES] >= _PART]) for genes, parts in top
    ]
    return table


def _carried(total: sp.csr_matrix, columns: Sequence[tuple[Array, Array]]) -> Array:
    """Return the share of each row's sum that lies in some columns of it; NaN of a row of zeros."""
    chosen = total.multiply(_marked(columns, total.shape))
    part, whole = (np.asarray(matrix.sum(axis=1)).ravel() for matrix in (chosen, total))
    return np.asarray(part / whole)


def _marked(columns: Sequence[tuple[Array, Array]], shape: tuple[int, int]) -> sp.csr_matrix:
    """Return 1 at some columns of each row."""
    row = np.repeat(np.arange(len(columns)), [len(some) for some, _ in columns])
    column = np.concatenate([np.empty(0, np.int64), *(some for some, _ in columns)])
    return sp.csr_matrix((np.ones(len(row)), (row, column)), shape=shape)


def _largest(total: sp.csr_matrix, most: int) -> list[tuple[Array, Array]]:
    """Return, for each unit, the columns of most mass, falling, and their shares of all; of equal ones the first."""
    total = sp.csr_matrix(total)
    found = []
    for first, last in pairwise(total.indptr.tolist()):
        column, mass = total.indices[first:last], total.data[first:last]
        order = np.lexsort((column, -mass))[:most]
        found.append((column[order], mass[order] / max(mass.sum(), 1e-300)))
    return found


def _top_genes(one: UnitSums, symbols: Sequence[str], layer: int) -> pd.DataFrame:
    both = GeneSums(one.n_units, len(symbols))
    for sums in one.genes:
        both.merge(sums)
    table = both.table().groupby("concept", sort=False).head(GENES_TOLD)
    return pd.DataFrame({
        "layer": np.int32(layer),
        "feature": table["concept"].to_numpy(),
        "gene": np.asarray(symbols, dtype=object)[table["gene"]],
        "mean": table["mean"].to_numpy(),
        "cells": np.rint(table["active"].to_numpy() * table["n"].to_numpy()).astype(np.int32),
        "read": table["n"].to_numpy(),
        "part": table["part"].to_numpy(),
    })  # fmt: skip


# -- gene sets and labels ----------------------------------------------------------------------------------------------


def _gene_sets(
    one: UnitSums, symbols: Sequence[str], sources: Sequence[GeneSets], enough: Array, rule: Rule, seed: int
) -> pd.DataFrame:
    """Return the gene set of each unit on the choosing half, and its null_q on the scoring half."""
    table = pd.DataFrame({"source": "", "term": "", "null_q": np.nan, "held_out_null_q": np.nan},
                         index=range(one.n_units))  # fmt: skip
    units = np.flatnonzero(enough)
    if not len(units) or not sources:
        return table
    found = _tested(one.genes[CHOOSE], units, symbols, sources, rule, derive(seed, "choose"))
    best = found.sort_values(["null_q", "p"], kind="stable").drop_duplicates("concept").set_index("concept")
    if not len(best):
        return table
    for name in ("source", "term", "null_q"):
        table.loc[best.index, name] = best[name]
    again = _tested(one.genes[SCORE], np.sort(np.asarray(best.index)), symbols, sources, rule, derive(seed, "score"))
    both = best.reset_index()[["concept", "source", "term"]].merge(again, on=["concept", "source", "term"])
    table.loc[both["concept"], "held_out_null_q"] = np.asarray(both["null_q"])
    return table


def _tested(
    sums: GeneSums, units: Array, symbols: Sequence[str], sources: Sequence[GeneSets], rule: Rule, seed: int
) -> pd.DataFrame:
    """Return the sets below the rule's q, one row for each unit and set."""
    read = np.flatnonzero(sums.tokens)
    names = [symbols[gene] for gene in read.tolist()]
    fitting = [source for source in sources if _fits(source, set(names))]
    if not fitting:
        return pd.DataFrame({"concept": [], "source": [], "term": [], "null_q": [], "p": []})
    scores = (sums.total[units][:, read].toarray() / sums.tokens[read]).astype(np.float32)
    top = max(1, min(TOP, len(read) // 5))
    config = EnrichmentConfig(tests=("ora",), top_n=top, alpha=rule.q)
    found = enrich(
        pd.DataFrame(scores, index=units), names, sums.tokens[read], fitting, config, seed=seed,
        ranking="mean activation",
    ).pathways  # fmt: skip
    return found[(found["null_q"] < rule.q) & (found["statistic"] > 0)]


def _fits(source: GeneSets, read: set[str]) -> bool:
    """Say whether any set has as many genes among those that are read as a test needs."""
    config = EnrichmentConfig()
    sizes = [len(read.intersection(genes)) for genes in source.sets.values()]
    return any(config.min_size <= size <= config.max_size and size < len(read) for size in sizes)


def _labels(sums: Sequence[UnitSums], labels: pd.DataFrame | None, seed: int) -> pd.DataFrame:
    """Return the label that the cells of each unit have, over all layers."""
    n = sum(one.n_units for one in sums)
    if labels is None or not len(labels.columns):
        blank = pd.DataFrame({"label_column": "", "label": ""}, index=range(n))
        return blank.assign(f1=np.nan, f1_null=np.nan, label_q=np.nan)
    codes = sp.hstack([one.by_cell for one in sums], format="csc")
    found = label_of_concepts(codes, labels, derive(seed, "feature labels"))
    found = found.rename(columns={"value": "label", "null": "f1_null", "q": "label_q"})
    return found[["label_column", "label", "f1", "f1_null", "label_q"]]


# -- names -------------------------------------------------------------------------------------------------------------


def _name(row: Mapping[Any, Any]) -> str:
    """Return what a machine calls a unit: by its genes, its gene set or its kind of token, and by its cells."""
    if not row["cells"] and not row["frequency"]:
        return ""
    kinds = {kind: row[f"on_{kind}"] for kind in KINDS}
    kind = max(kinds, key=lambda name: kinds[name])
    if row["why"] == "genes":
        said = f"fires on {row['named_genes']}"
    elif row["why"] == "spelling":
        said = f"spelling of {row['named_genes']}" if row["named_genes"] else "spelling of many genes"
    elif row["why"] == "gene set":
        said = f"genes of {row['term']}"
    elif kind != "gene":
        said = f"{kind} tokens" if kinds[kind] >= _ALONE else f"mostly {kind} tokens"
    elif row["named_genes"]:
        said = f"many genes, most {row['named_genes']}"
    else:
        said = "many genes"
    cells = f" in {row['label']}" if row["label"] and row["f1"] >= LABEL_F1 else ""
    room = _LONGEST - len(cells)
    return (said if len(said) <= room else said[: max(8, room - 1)].rstrip() + "…") + cells

"""Lists of genes held against sets, beside lists of genes that are read as often; and the rivals of a class circuit.

Used by ``class_circuits.py``. Of a model it asks one walk back a cell.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse as sp
from class_circuits_report import CIRCUIT, DE, DIFFERENCE, FIRST, MANY, MARKERS, RANDOM, RANKINGS, READ
from common import Row

from cellglass.cells import Cells
from cellglass.circuits.asked import ask
from cellglass.circuits.features import StandIns
from cellglass.circuits.genes import by_gene, token_effects
from cellglass.circuits.stability import overlap
from cellglass.evaluation.recovery import auroc
from cellglass.models.transformer.model import TransformerModel
from cellglass.seeds import generator
from cellglass.statistics import welch

Array = np.ndarray[Any, Any]

CLASSES = 10
"""Of genes, by the share of cells in which they are read: a gene of a list is exchanged for one of its class."""
DRAWS = 2000
_TOTAL = 10_000.0


class Hits(NamedTuple):
    """How many genes of a list are in a set, the mean of lists of genes that are read as often, and the p of as many.

    p is the share of drawn lists with as many or more, the list itself counted among them.
    """

    own: int
    null: float
    p: float


def hits(genes: Sequence[str], members: Collection[str], reads: pd.Series[Any], draws: int = DRAWS) -> Hits:
    """Return how many of `genes` are in a set.

    In each draw every gene is exchanged for one of its class of `reads`, no gene twice.

    Parameters
    ----------
    genes
        Of the index of `reads`.
    members
        The set.
    reads
        Index: genes that may stand in a list; the share of cells in which the model reads each.
    draws
    """
    rank = np.argsort(np.argsort(reads.to_numpy(), kind="stable"), kind="stable")
    group = rank * CLASSES // max(1, len(reads))
    inside = reads.index.isin(list(members))
    wanted = np.bincount(group[reads.index.get_indexer(list(genes))], minlength=CLASSES)
    rng, found = generator(0, "genes read as often"), np.zeros(draws)
    for one in np.flatnonzero(wanted):
        here = inside[group == one]
        order = rng.random((draws, len(here))).argsort(axis=1)[:, : wanted[one]]
        found += here[order].sum(axis=1)
    own = int(np.isin(list(genes), list(members)).sum())
    return Hits(own, float(found.mean()), float((1 + (found >= own).sum()) / (1 + draws)))


def area(values: pd.Series[Any], members: Collection[str], reads: pd.Series[Any]) -> float:
    """Return the AUROC of a set among the genes that may stand in a list; genes without a value have 0."""
    found = values.reindex(reads.index).fillna(0)
    return auroc(found.to_numpy(dtype=np.float64), found.index.isin(list(members)))


def first(values: pd.Series[Any], reads: pd.Series[Any], n: int) -> list[str]:
    """Return the n genes of largest value, of those that may stand in a list."""
    some = values[values.index.isin(reads.index)]
    return [str(gene) for gene in some.sort_values(ascending=False, kind="stable").index[:n]]


def gene_effects(
    model: TransformerModel, cells: Cells, transcoders: StandIns, target: str, against: str, *, total: bool = True
) -> pd.DataFrame:
    """Return the effect of each gene in each cell, cells x genes; NaN where the model does not read the gene."""
    rows = []
    for i in range(cells.n_cells):
        one = ask(model, cells[i : i + 1], transcoders, target, against)
        rows.append(by_gene(token_effects(one, total=total), one.question.genes))
    return pd.DataFrame(rows, index=cells.obs.index)


def unit_means(effects: pd.DataFrame, units: Sequence[str]) -> pd.Series[Any]:
    """Return the mean over units of their cells' mean effects, by gene; a gene that is not read counts as 0."""
    return effects.fillna(0).groupby(np.asarray(units, dtype=object)).mean().mean()


def by_symbol(cells: Cells) -> tuple[sp.csr_matrix, pd.Index]:
    """Return log(1 + 10,000 count / sum of the cell's counts), cells x symbols; genes of one symbol add up."""
    number, symbols = pd.factorize(np.array([str(one) for one in cells.symbols], dtype=object))
    fold = sp.csr_matrix((np.ones(len(number)), (np.arange(len(number)), number)))
    counts = sp.csr_matrix(cells.counts, dtype=np.float64) @ fold
    scale = _TOTAL / np.maximum(1, np.asarray(counts.sum(axis=1)).ravel())
    return sp.csr_matrix(sp.diags(scale) @ counts).log1p(), pd.Index(symbols)


def expression(cells: Cells, one: Array, other: Array) -> pd.DataFrame:
    """Return what counts alone say of each gene: its mean in some cells, and Welch's t between them and others."""
    logs, symbols = by_symbol(cells)
    means, errors = [], []
    for rows in (one, other):
        some = logs[np.flatnonzero(rows)]
        mean = np.asarray(some.mean(axis=0)).ravel()
        square = np.asarray(some.multiply(some).mean(axis=0)).ravel()
        n = some.shape[0]
        means.append(mean)
        errors.append(np.maximum(0, square - mean**2) / max(1, n - 1))
    n = [int(rows.sum()) for rows in (one, other)]
    found = welch(means[0] - means[1], errors[0], n[0], errors[1], n[1])
    return pd.DataFrame({"mean": means[0], "t": found.t}, index=symbols)


def merged(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Return the mean over types of what rankings say of genes, 0 where a type does not read them."""
    columns = [name for name in next(iter(tables.values())) if all(name in one for one in tables.values())]
    return pd.concat([one[columns] for one in tables.values()]).groupby(level=0).sum() / len(tables)


def shared(name: str, tables: Mapping[str, pd.DataFrame]) -> Iterator[Row]:
    """Yield how far the first genes agree between types, and between donors within a type."""
    for ranking in (CIRCUIT, DE):
        lists = [first(one[ranking], one["reads"], MANY) for one in tables.values()]
        pairs = [overlap({*a}, {*b}) for i, a in enumerate(lists) for b in lists[:i]]
        yield Row("first genes of two types, Jaccard", f"{name}, {ranking}", float(np.mean(pairs)), "")
        donors = []
        for one in tables.values():
            lists = [first(one[column], one["reads"], MANY) for column in one if column.startswith(f"{ranking}, ")
                     and not column.endswith(DIFFERENCE)]  # fmt: skip
            donors += [overlap({*a}, {*b}) for i, a in enumerate(lists) for b in lists[:i]]
        yield Row("first genes of two donors, Jaccard", f"{name}, {ranking}", float(np.mean(donors)), "")


def listed(key: str, table: pd.DataFrame, known: frozenset[str], known_of_both: frozenset[str]) -> Iterator[Row]:
    """Yield the first genes of every ranking, and how many are markers, or known, beside genes read as often."""
    reads = table["reads"]
    yield Row(READ, key, float(len(reads)), "")
    for way in ("", DIFFERENCE):
        sides = known if not way else known_of_both
        size = (lambda one: one.abs()) if way else (lambda one: one)
        sets = {"known": sides, "markers": frozenset(first(size(table[DE]), reads, MARKERS))}
        yield Row(f"known {READ}{way}", key, float(reads.index.isin(list(sides)).sum()), "")
        for ranking in RANKINGS:
            values = [size(table[one]) for one in columns_of(table, ranking, way)]
            if not values:
                continue
            for gene in first(values[0], reads, MANY):
                yield Row(f"first genes, {ranking}{way}", f"{key}, {gene}", float(values[0][gene]), "")
            for what, members in sets.items():
                if what == "markers" and ranking == DE:
                    continue
                areas = [area(one, members, reads) for one in values]
                if np.isfinite(areas).all():
                    yield Row(f"AUROC of {what}{way}", f"{key}, {ranking}", float(np.mean(areas)), "")
                for n in FIRST:
                    found = np.array([hits(first(one, reads, n), members, reads) for one in values])
                    for name, value in zip(("", ", null", ", p"), found.mean(axis=0), strict=True):
                        if name != ", p" or len(values) == 1:
                            yield Row(f"{what} among first {n}{way}{name}", f"{key}, {ranking}", float(value), "")


def columns_of(table: pd.DataFrame, ranking: str, way: str) -> list[str]:
    """Return the columns of a ranking: one, or as many as there are draws; Welch's t is of a difference anyhow."""
    if ranking == DE:
        return [DE]
    number = r" \d+" if ranking == RANDOM else ""
    return [one for one in table if re.fullmatch(re.escape(ranking) + number + re.escape(way), one)]

"""Effects of genes in cells by several rankings, kept, and lists of first genes held against sets.

Used by ``class_deletions.py``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from class_circuits_genes import first, hits
from class_circuits_report import DE, MARKERS, READ
from common import Row

from cellglass.cells import Cells
from cellglass.circuits.asked import ask
from cellglass.circuits.deletion import counterfactuals
from cellglass.circuits.genes import by_gene, token_effects
from cellglass.circuits.removal import removals
from cellglass.circuits.stability import overlap
from cellglass.files import atomic_path
from cellglass.models.transformer.model import TransformerModel

FIRST = 10
"""Genes of a list."""
METHODS = {
    "total": "total effect",
    "removal": "removal",
    "features": "what deletion takes through features",
    "deletion": "deletion in the real model",
}
"""Rankings, by column; the last needs no transcoder."""
TRAINED = "trained"


def effects(
    model: TransformerModel, cells: Cells, transcoders: Any, asked: tuple[str, str], file: Path
) -> pd.DataFrame:
    """Return a row for each cell and gene that is read of it, with the columns of `METHODS`; kept in a file."""
    if not file.exists():
        tables = []
        for i in range(cells.n_cells):
            one = ask(model, cells[i : i + 1], transcoders, *asked)
            table = counterfactuals(one, transcoders)[["features", "deletion"]]
            table["total"] = by_gene(token_effects(one, total=True), one.question.genes)
            table["removal"] = removals(one)
            tables.append(table.assign(cell=i).rename_axis("gene").reset_index())
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            pd.concat(tables).to_csv(temporary, index=False, float_format="%.17g")
    return pd.read_csv(file, float_precision="round_trip", keep_default_na=False, na_values={"removal": [""]})


def mean_of(table: pd.DataFrame, method: str, cells: Any) -> pd.Series[Any]:
    """Return by gene the mean over some cells; a gene that is not read counts as 0."""
    some = table[table["cell"].isin(cells)]
    return some.groupby("gene")[method].sum() / len(cells)


def listed(own: str, found: Mapping[str, pd.DataFrame], counts: pd.Series[Any], known: frozenset[str]) -> Iterator[Row]:
    """Yield the first genes of each ranking, how many are known or markers, and how far halves of the cells agree."""
    table = found[TRAINED]
    every = np.arange(table["cell"].max() + 1)
    reads = table.groupby("gene")["cell"].nunique() / len(every)
    sets = {"known": known, "markers": frozenset(first(counts, reads, MARKERS))}
    yield Row(READ, own, float(len(reads)), "")
    for method in METHODS:
        draws = {name: one for name, one in found.items() if method != "deletion" or name == TRAINED}
        for kind in dict.fromkeys(name.split()[0] for name in draws):
            some = [one for name, one in draws.items() if name.startswith(kind)]
            yield from of_ranking(f"{own}, {kind}, {method}", some, method, every, reads, sets)
    lists = {f"{own}, {DE}": first(counts, reads, FIRST)}
    for name, genes in lists.items():
        held = hits(genes, known, reads)
        yield from figures("known", name, np.array([held]))
        yield from (Row("first genes", f"{name}, {gene}", float(counts[gene]), "") for gene in genes)


def of_ranking(
    name: str, tables: list[pd.DataFrame], method: str, every: Any, reads: pd.Series[Any],
    sets: Mapping[str, frozenset[str]],
) -> Iterator[Row]:  # fmt: skip
    """Yield what one ranking's lists hold, mean over draws; the genes are those of the first draw."""
    means = [mean_of(one, method, every) for one in tables]
    for gene in first(means[0], reads, FIRST):
        yield Row("first genes", f"{name}, {gene}", float(means[0][gene]), "")
    for what, members in sets.items():
        yield from figures(what, name, np.array([hits(first(one, reads, FIRST), members, reads) for one in means]))
    halves = [
        overlap(*({*first(mean_of(one, method, half), reads, FIRST)} for half in (every[::2], every[1::2])))
        for one in tables
    ]
    yield Row("halves, Jaccard of the first genes", name, float(np.mean(halves)), "")


def figures(what: str, name: str, found: Any) -> Iterator[Row]:
    """Yield hits among the first genes, with their null, and p of a single list."""
    for kind, value in zip(("", ", null", ", p"), found.mean(axis=0), strict=True):
        if kind != ", p" or len(found) == 1:
            yield Row(f"{what} among first {FIRST}{kind}", name, float(value), "")

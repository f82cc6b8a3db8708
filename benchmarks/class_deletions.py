"""First genes of types by what a deletion takes through features, beside total effects, removal and random transcoders.

Model, transcoders and cells are those of the study of types in ``class_circuits.py``, and so are the sets that lists are
held against: genes known of the type, and its markers by differential expression in the cells that the model has
learnt. Of each type `N_CELLS` cells are asked, and every gene that the model reads of one is deleted in turn. Whether so
few give a steady list is told beside: how far the first ten genes of two halves of them agree.

    python benchmarks/class_deletions.py --quick
    python benchmarks/class_deletions.py --json benchmarks/results/class_deletions.json

What is finished is kept under --work, that of ``class_circuits.py``. ``docs/fill_readme.py`` puts the table into
docs/results/class_circuits.md.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from class_circuits import DATA, FULL, SMALL, WORK, Fitted, Part, Scale, drawn, fitted_to, named, parts, small_parts
from class_circuits_genes import expression, first, hits
from class_circuits_report import DE, MARKERS, READ
from common import Row, machine, write_rows

from cellglass.cells import Cells
from cellglass.circuits.asked import ask
from cellglass.circuits.classes.cells import ordered_cells
from cellglass.circuits.deletion import counterfactuals
from cellglass.circuits.genes import by_gene, token_effects
from cellglass.circuits.names import file_word
from cellglass.circuits.removal import removals
from cellglass.circuits.stability import overlap
from cellglass.files import atomic_path
from cellglass.threads import threads

N_CELLS = 8
"""Of each type: half of them already give much the same list as the other half, which is told beside."""
RANDOM = 1
"""Draws of random transcoders."""
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


def main() -> None:
    """Measure, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="bundled cells, a smaller network, few cells")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--data", type=Path, default=DATA, metavar="FOLDER", help="with cells/ and genesets/")
    parser.add_argument("--work", type=Path, default=WORK, metavar="FOLDER", help="where what is finished is kept")
    options = parser.parse_args()
    about, rows = machine(), []
    with threads(1):
        part = next(iter(small_parts() if options.quick else parts(options.data)))
        work = options.work / ("quick" if options.quick else "full") / part.name
        for row in measured(part, work, SMALL if options.quick else FULL, 4 if options.quick else N_CELLS):
            print(f"{row.metric:<44} {row.name:<60} {row.value:.3f}", flush=True)
            rows.append(row)
    if options.json is not None:
        write_rows(options.json, about, rows)


def measured(part: Part, work: Path, scale: Scale, n_cells: int) -> Iterator[Row]:
    """Yield what the lists of every type hold."""
    given = fitted_to(part, work, scale)
    for row in named(part, given):
        if row.name == "Cell2Sentence":
            yield row
    label = given.learnt.obs[part.label].astype(str).to_numpy()
    for own, other in part.asked.items():
        start = time.perf_counter()
        cells = given.left[ordered_cells(given.left, part.label, own)[:n_cells]]
        asked = {TRAINED: given.transcoders.stand_ins} | {f"random {i}": drawn(given, i) for i in range(RANDOM)}
        found = {
            name: effects(given, cells, some, (own, other), work / file_word(own) / f"deletions {n_cells} {name}.csv")
            for name, some in asked.items()
        }
        counts = expression(given.learnt, label == own, label == other)["t"]
        yield from listed(own, found, counts, part.known[own])
        yield Row("cells", own, float(cells.n_cells), "")
        yield Row("seconds", own, time.perf_counter() - start, "s")


def effects(given: Fitted, cells: Cells, transcoders: Any, asked: tuple[str, str], file: Path) -> pd.DataFrame:
    """Return a row for each cell and gene that is read of it, with the columns of `METHODS`; kept in a file."""
    if not file.exists():
        tables = []
        for i in range(cells.n_cells):
            one = ask(given.model, cells[i : i + 1], transcoders, *asked)
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


def listed(
    own: str, found: Mapping[str, pd.DataFrame], counts: pd.Series[Any], known: frozenset[str]
) -> Iterator[Row]:
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


if __name__ == "__main__":
    main()

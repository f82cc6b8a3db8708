"""First genes of types by what a deletion takes through features, beside total effects, removal, random transcoders.

Model, transcoders and cells are those of the study of types in ``class_circuits.py``, and so are the sets that lists
are held against: genes known of the type, and its markers by differential expression in the cells that the model has
learnt. Of each type `N_CELLS` cells are asked, and every gene that the model reads of one is deleted in turn. Whether
so few give a steady list is told beside: how far the first ten genes of two halves of them agree.

    python benchmarks/class_deletions.py --quick
    python benchmarks/class_deletions.py --json benchmarks/results/class_deletions.json

What is finished is kept under --work, that of ``class_circuits.py``. ``docs/fill_readme.py`` puts the table into
docs/results/class_circuits.md.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

from class_circuits import DATA, FULL, SMALL, WORK, Part, Scale, drawn, fitted_to, named, parts, small_parts
from class_circuits_genes import expression
from class_deletions_lists import TRAINED, effects, listed
from common import Row, machine, write_rows

from cellglass.circuits.classes.cells import ordered_cells
from cellglass.circuits.names import file_word
from cellglass.threads import threads

N_CELLS = 8
"""Of each type; how far the lists of two halves of them agree is told beside."""
RANDOM = 1
"""Draws of random transcoders."""


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
        cells = given.left[ordered_cells(given.left, part.label, own)[:n_cells]]
        asked = {TRAINED: given.transcoders.stand_ins} | {f"random {i}": drawn(given, i) for i in range(RANDOM)}
        found = {
            name: effects(
                given.model, cells, some, (own, other), work / file_word(own) / f"deletions {n_cells} {name}.csv"
            )
            for name, some in asked.items()
        }
        counts = expression(given.learnt, label == own, label == other)["t"]
        yield from listed(own, found, counts, part.known[own])
        yield Row("cells", own, float(cells.n_cells), "")


if __name__ == "__main__":
    main()

"""What are circuits of classes worth on real cells? Genes, faithfulness and stability, beside nulls and rivals.

Two studies, each of a Cell2Sentence that is fitted to most of the cells, with transcoders, and of the circuits of
classes in cells that neither has seen:

- *types*: sorted blood cells (zheng_facs_pbmc), what tells a type from another one;
- *conditions*: blood cells before and after interferon (kang_ctrl_stim_1556x1267), what tells "stim" from "ctrl" where
  the model names type and condition; within each type, and over types; donors are the units.

First genes are held against sets of genes (``class_circuits_genes.py``), circuits against cells that did not make them
(``class_circuits_quality.py``). What is finished is kept under --work and not done again; ``class_circuits_report.py``
writes the page.

    python benchmarks/class_circuits.py --quick
    python benchmarks/class_circuits.py --json benchmarks/results/class_circuits.json \
        --markdown docs/results/class_circuits.md
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from class_circuits_genes import expression, gene_effects, listed, merged, shared, unit_means
from class_circuits_quality import contrasts, faithful, fillings
from class_circuits_report import (
    CIRCUIT,
    DE,
    DIFFERENCE,
    DIRECT,
    MEAN,
    RANDOM,
    UNTRAINED,
    page_of,
)
from common import Row, machine, write_rows

from cellglass import demo_cells
from cellglass.cells import Cells, read_cells
from cellglass.cells.read import as_cells
from cellglass.circuits import class_circuit, read_class, write_class
from cellglass.circuits.classes.circuit import ClassCircuit
from cellglass.circuits.classes.making import ClassCost
from cellglass.circuits.controls import random_like
from cellglass.circuits.names import file_word
from cellglass.circuits.training import read_losses
from cellglass.circuits.transcoders import Transcoders
from cellglass.enrichment.genesets import GeneSets, read_gmt
from cellglass.enrichment.sources import bundled
from cellglass.files import atomic_path
from cellglass.models.cell2sentence.model import Cell2SentenceModel
from cellglass.seeds import derive, generator
from cellglass.threads import threads
from circuits import OWN, PLAIN, QUICK, Size, Study, fitted, folder_of, labels_named

Array = np.ndarray[Any, Any]

ROOT = Path(__file__).parents[1]
WORK = ROOT / "build" / "class_circuits"
DATA = ROOT.parent / "shared" / "data"

TYPES = {
    "CD19+ B": "CD14+ Monocyte",
    "CD56+ NK": "CD8+ Cytotoxic T",
    "CD14+ Monocyte": "CD34+",
    "CD34+": "CD19+ B",
}
"""Types whose circuits are made, and what each is told from."""
KNOWN = {
    "CD19+ B": ("B_CELL_PAN", "B_CELL_NAIVE", "B_CELL_MEMORY"),
    "CD56+ NK": ("NK_CELL_PAN", "NK_CELL_CD56_DIM", "CYTOTOXIC_GRANULE"),
    "CD14+ Monocyte": ("MONOCYTE_CLASSICAL", "MONOCYTE_LINEAGE_PAN"),
    "CD34+": ("HAEMATOPOIETIC_STEM_CELL", "PROGENITOR_LYMPHOID", "PROGENITOR_GRANULOCYTE_MONOCYTE"),
    "CD8+ Cytotoxic T": ("CD8_T_CELL_CYTOTOXIC", "T_CELL_PAN"),
}
"""Sets of the collection that comes with cellglass, from the literature: the known genes of each type."""
INTERFERON = ("HALLMARK_INTERFERON_ALPHA_RESPONSE", "HALLMARK_INTERFERON_GAMMA_RESPONSE")
FILES = {
    "types": "cells/zheng_facs_pbmc.h5ad",
    "conditions": "cells/kang_ctrl_stim_1556x1267.h5ad",
    "sets": "genesets/hallmark_v7.0.gmt",
}
BUNDLED = ("INTERFERON_TYPE_I_RESPONSE", "INTERFERON_GAMMA_RESPONSE")
FEWER = {"rows": 40_000, "steps": 800}, {"cells": 12, "tested": 0}
"""Of the transcoders and the circuits of the second study, whose cells are fewer and whose classes are more."""
OF_CONDITION = "type, condition"
"""Column of what the model of the second study names."""
READ = 0.05
"""Genes that may stand in a list are those that the model reads in this share of the class's or the other's cells."""


TRAINED = "trained"
"""Column of effects with the trained transcoders, cell by cell; over cells those are the class circuit's."""


class Scale(NamedTuple):
    """How large the study is.

    Of each label `cells` make the circuit, or two thirds of those that there are; `tested` others test it, none if it
    is 0. `sizes` are of circuits, `draws` the random ones of each, `random` the draws of random transcoders.
    """

    network: Size
    cells: int
    tested: int
    features: int
    sizes: tuple[int, ...]
    draws: int
    random: int


FULL = Scale(OWN, cells=20, tested=8, features=300, sizes=(10, 30, 100, 200), draws=3, random=5)
SMALL = Scale(QUICK, cells=5, tested=2, features=30, sizes=(5, 10), draws=2, random=1)


class Part(NamedTuple):
    """One study.

    Attributes
    ----------
    name
    cells
    label
        Column of what the model names.
    asked
        Each class, and what it is told from.
    known
        Genes that are known of each label.
    unseen
        One in so many cells is left to trace and to test.
    network
        Where the network and its transcoders differ from the scale's.
    batch
        Column of donors.
    scale
        Where the study is smaller than the scale says.
    """

    name: str
    cells: Cells
    label: str
    asked: dict[str, str]
    known: dict[str, frozenset[str]]
    unseen: int
    network: Mapping[str, Any]
    batch: str | None = None
    scale: Mapping[str, Any] = {}


class Fitted(NamedTuple):
    """What circuits of one study are made from: the model, its transcoders, cells that they know and have not seen."""

    model: Cell2SentenceModel
    transcoders: Transcoders
    learnt: Cells
    left: Cells


def main() -> None:
    """Measure, and write what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="bundled cells, a smaller network, few cells")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--markdown", type=Path, metavar="FILE")
    parser.add_argument("--data", type=Path, default=DATA, metavar="FOLDER", help="with cells/ and genesets/")
    parser.add_argument("--work", type=Path, default=WORK, metavar="FOLDER", help="where what is finished is kept")
    parser.add_argument("--only", choices=("types", "conditions"), help="one of the two studies")
    options = parser.parse_args()
    about, scale = machine(), SMALL if options.quick else FULL
    rows: list[Row] = []
    asked: dict[str, dict[str, str]] = {}
    with threads(1):
        for part in small_parts() if options.quick else parts(options.data):
            if options.only not in (None, part.name):
                continue
            asked[part.name] = part.asked
            for row in measure(part, options.work / ("quick" if options.quick else "full") / part.name, scale):
                if np.isfinite(row.value):  # what is not known is left out
                    print(f"{row.metric:<44} {row.name:<60} {row.value:.3f}", flush=True)
                    rows.append(row)
    if options.json is not None:
        write_rows(options.json, about, rows)
    if options.markdown is not None:
        options.markdown.write_text(page_of(rows, about, scale._asdict(), asked, quick=options.quick), encoding="utf-8")


# -- what is studied -------------------------------------------------------------------------------------------------


def parts(data: Path) -> Iterator[Part]:
    """Yield the two studies of real cells."""
    missing = [name for name in FILES.values() if not (data / name).is_file()]
    if missing:
        raise SystemExit(f"{data}: lacks {', '.join(missing)}; say with --data where they lie, or use --quick")
    yield types(read_cells(data / FILES["types"], columns=["celltype"]), "celltype", TYPES)
    cells = read_cells(data / FILES["conditions"], columns=["cell_type", "group_id", "sample_id"])
    donor = cells.obs["sample_id"].astype(str).str.extract(r"(\d+)$", expand=False)
    yield conditions(
        with_column(cells, "donor", donor),
        ("cell_type", "group_id"),
        ("stim", "ctrl"),
        read_gmt(data / FILES["sets"]),
        FEWER,
    )


def small_parts() -> Iterator[Part]:
    """Yield the same of the bundled cells: phases of the cell cycle stand for conditions, and drawn ones for donors."""
    yield types(as_cells(demo_cells()), "bulk_labels", {"CD19+ B": "CD14+ Monocyte"})
    cells = as_cells(demo_cells())
    cells = with_column(cells, "donor", np.where(np.arange(cells.n_cells) % 2, "one", "two"))
    kinds = cells.obs["bulk_labels"].astype(str).isin(["CD14+ Monocyte", "Dendritic"]).to_numpy()
    sets = bundled()
    named = {name: sets.sets[one] for name, one in zip(INTERFERON, BUNDLED, strict=True)}
    yield conditions(
        cells[np.flatnonzero(kinds)], ("bulk_labels", "phase"), ("S", "G1"), replace(sets, sets=named), ({}, {})
    )


def types(cells: Cells, label: str, asked: dict[str, str]) -> Part:
    """Return the study of types."""
    sets = bundled().sets
    known = {name: frozenset(gene for one in some for gene in sets[one]) for name, some in KNOWN.items()}
    return Part("types", cells, label, asked, known, 7, {})


def conditions(
    cells: Cells,
    columns: tuple[str, str],
    told: tuple[str, str],
    sets: GeneSets,
    fewer: tuple[Mapping[str, Any], Mapping[str, Any]],
) -> Part:
    """Return the study of conditions: the first of `told` from the second, within each type."""
    kind, condition = (cells.obs[name].astype(str) for name in columns)
    cells = with_column(cells, OF_CONDITION, kind + ", " + condition)
    asked = {f"{one}, {told[0]}": f"{one}, {told[1]}" for one in sorted(kind.unique())}
    genes = frozenset(gene for name in INTERFERON for gene in sets.sets[name])
    known = dict.fromkeys([*asked, *asked.values()], genes)
    return Part("conditions", cells, OF_CONDITION, asked, known, 4, fewer[0], "donor", fewer[1])


def with_column(cells: Cells, name: str, values: Any) -> Cells:
    """Return the cells with one more column of obs."""
    return replace(cells, obs=cells.obs.assign(**{name: values}))


# -- what is measured ------------------------------------------------------------------------------------------------


def measure(part: Part, work: Path, scale: Scale) -> Iterator[Row]:
    """Yield every figure of one study."""
    scale = scale._replace(**part.scale)
    given = fitted_to(part, work, scale)
    yield Row("cells", part.name, float(part.cells.n_cells), "")
    yield Row("cells, learnt from", part.name, float(given.learnt.n_cells), "")
    for row in kept(work, "accuracy", partial(named, part, given)):
        yield replace(row, name=f"{part.name}, {row.name}")
    losses = read_losses(folder_of(work, PLAIN)).set_index(["loss", "layers"])
    for loss in losses.index.unique("loss"):
        yield Row("share kept of layers from 1 on", f"{part.name}, {loss}", float(losses.loc[(loss, "1+"), "kept"]), "")
    tables: dict[str, pd.DataFrame] = {}
    for own, other in part.asked.items():
        place, key = work / file_word(own), f"{part.name}, {own}"
        circuit = circuit_of(part, given, own, other, place, scale)
        yield from told(circuit, key)
        tables[own] = values_of(part, given, circuit, place, scale)
        yield from listed(key, tables[own], part.known[own], part.known[own] | part.known[other])
        if scale.tested:
            name = f"quality {scale.tested} {scale.sizes} {scale.draws}"
            yield from kept(place, name, partial(quality, given, circuit, key, place, scale))
    if part.batch is not None:
        known = frozenset().union(*part.known.values())
        yield from listed(f"{part.name}, all types", merged(tables), known, known)
        yield from shared(part.name, tables)


def named(part: Part, given: Fitted) -> Iterator[Row]:
    """Yield how many unseen cells' labels the model names, and of how many the condition; regressions beside."""
    yield from labels_named(given.model, given.learnt, given.left, part.label)
    if part.batch is not None:
        truth = given.left.obs[part.label].astype(str)
        names = sorted({*part.asked, *part.asked.values()})
        said = pd.Series(names)[given.model.label_probabilities(given.left, names).numpy().argmax(1)]
        right = said.str.split(", ").str[-1].to_numpy() == truth.str.split(", ").str[-1].to_numpy()
        yield Row("accuracy on unseen cells", "Cell2Sentence, condition", float(right.mean()), "")


def fitted_to(part: Part, work: Path, scale: Scale) -> Fitted:
    """Return model and transcoders, made where they are not there yet, and the cells; as ``circuits.py`` parts them."""
    order = generator(0, "circuits").permutation(part.cells.n_cells)
    n = part.cells.n_cells // part.unseen
    learnt, left = (part.cells[np.sort(some)] for some in (order[n:], order[:n]))
    size = scale.network._replace(**part.network)
    model, transcoders = fitted(work, learnt, Study(part.cells, part.label, part.asked, size))
    return Fitted(model, transcoders, learnt, left)


def circuit_of(part: Part, given: Fitted, own: str, other: str, place: Path, scale: Scale) -> ClassCircuit:
    """Return the circuit of a class, made where it is not there yet; a third of the cells is left to test it."""
    labels = given.left.obs[part.label].astype(str)
    n = min(scale.cells, min(int((labels == one).sum()) for one in (own, other)) * 2 // 3)
    file = place / f"circuit {n} {scale.features}.json"
    if not file.exists():
        traced = file.with_suffix(".work")
        circuit = class_circuit(
            given.model, given.left, own, given.transcoders, labels=part.label, against=other, batch=part.batch,
            n_cells=n, features=scale.features, folder=traced, tell=partial(say_cost, part),
        )  # fmt: skip
        write_class(circuit, file)
        shutil.rmtree(traced)
    return read_class(file)


def say_cost(part: Part, cost: ClassCost) -> None:
    """Say what is ahead, by the first cell of a circuit."""
    minutes = cost.left * cost.seconds / 60
    print(f"{part.name}: {cost.cells} cells, {cost.seconds:.1f} s each: {minutes:.1f} minutes for this circuit, one of "
          f"{len(part.asked)}, and about as much to test it", flush=True)  # fmt: skip


def told(circuit: ClassCircuit, key: str) -> Iterator[Row]:
    """Yield what a circuit says of itself: answers, cells, and how far two halves of the cells agree."""
    answer = circuit.nodes[circuit.nodes["kind"] == "answer"].iloc[0]
    for name, value in {"answer": answer["value"], "answer, other": answer["other_value"]}.items():
        yield Row(name, key, float(value), "")
    for name, cells in zip(("cells traced", "cells traced, other"), circuit.about["cell_names"], strict=True):
        yield Row(name, key, float(len(cells)), "")
    for row in circuit.about.get("stability", []):
        for column in ("mean", "sd", "null", "other"):
            if row[column] is not None and np.isfinite(row[column]):
                yield Row(f"halves, {row['of']}: {column}", key, float(row[column]), "")


def values_of(part: Part, given: Fitted, circuit: ClassCircuit, place: Path, scale: Scale) -> pd.DataFrame:
    """Return what each ranking says of each gene that may stand in a list, and how often the model reads it.

    Columns: ``reads``; `CIRCUIT` and other rankings of `RANKINGS`, random transcoders once for each draw; those with
    `DIFFERENCE` behind them are differences between the labels; those of one donor have its name behind them.
    """
    file = place / f"genes {scale.cells} {scale.random}.csv"
    if file.exists():
        return pd.read_csv(file, index_col=0, float_precision="round_trip", keep_default_na=False)
    own, other = circuit.about["class"], circuit.about["other"]
    cells = [given.left[given.left.obs.index.get_indexer(names)] for names in circuit.about["cell_names"]]
    units = [one.obs.index if part.batch is None else one.obs[part.batch].astype(str) for one in cells]
    made = {f"{RANDOM} {draw}": drawn(given, draw) for draw in range(scale.random)}
    asked = {
        TRAINED: (given.model, given.transcoders.stand_ins, True),
        DIRECT: (given.model, given.transcoders.stand_ins, False),
        UNTRAINED: (untrained(part, given, scale), given.transcoders.stand_ins, False),
        **{name: (given.model, some, True) for name, some in made.items()},
    }
    found, reads = {}, pd.Series(dtype=float)
    for name, (model, some, total) in asked.items():
        both = [gene_effects(model, one, some, own, other, total=total) for one in cells]
        means = [unit_means(one, unit) for one, unit in zip(both, units, strict=True)]
        found[name], found[name + DIFFERENCE] = means[0], means[0].sub(means[1], fill_value=0)
        if name == TRAINED:
            reads = pd.concat([one.notna().mean() for one in both], axis=1).fillna(0).max(axis=1)
            for unit in sorted(set(units[0])) if part.batch is not None else ():
                found[f"{CIRCUIT}, {unit}"] = both[0][(units[0] == unit).to_numpy()].fillna(0).mean()
    genes = circuit.genes()
    found[CIRCUIT], found[CIRCUIT + DIFFERENCE] = genes["effect"], genes["difference"]
    label = given.learnt.obs[part.label].astype(str).to_numpy()
    counts = expression(given.learnt, label == own, label == other)
    found[DE], found[MEAN] = counts["t"], counts["mean"]
    for unit in sorted(set(units[0])) if part.batch is not None else ():
        here = (given.learnt.obs[part.batch].astype(str) == unit).to_numpy()
        found[f"{DE}, {unit}"] = expression(given.learnt, (label == own) & here, (label == other) & here)["t"]
    table = pd.DataFrame({"reads": reads[reads >= READ]})
    for name, values in found.items():
        table[name] = values.reindex(table.index).fillna(0)
    with atomic_path(file) as temporary:
        table.to_csv(temporary, float_format="%.17g")
    return table


def drawn(given: Fitted, draw: int) -> Any:
    """Return random transcoders: rows as long, as many latents active; see `cellglass.circuits.controls`."""
    return random_like(given.transcoders.stand_ins, [], derive(0, "class circuits, random transcoders", draw))


def untrained(part: Part, given: Fitted, scale: Scale) -> Cell2SentenceModel:
    """Return the network as it starts."""
    size = scale.network
    return Cell2SentenceModel.fit(
        given.learnt, layers=size.layers, width=size.width, n_genes=size.genes, epochs=0, labels=part.label
    )


def quality(given: Fitted, circuit: ClassCircuit, key: str, place: Path, scale: Scale) -> Iterator[Row]:
    """Yield what a circuit keeps in cells that did not make it."""
    some = fillings(given.model, given.learnt, given.transcoders, circuit)
    how = {"n_cells": scale.tested, "sizes": scale.sizes, "draws": scale.draws}
    shares = faithful(circuit, given.model, given.left, given.transcoders, folder=place / "curves", **how)
    for one in [*shares, *contrasts(circuit, given.model, given.left, given.transcoders, some, **how)]:
        name = ", ".join(str(part) for part in (key, one.by, one.size) if part)
        yield Row(f"{one.what}, others {one.filled}", name, one.value, "")


def kept(place: Path, name: str, make: Callable[[], Iterator[Row]]) -> list[Row]:
    """Return rows that are made once and kept in a file."""
    file = place / f"{name}.json"
    if not file.exists():
        rows = [asdict(row) for row in make()]
        place.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as temporary:
            temporary.write_text(json.dumps(rows), encoding="utf-8")
    return [Row(**row) for row in json.loads(file.read_text(encoding="utf-8"))]


if __name__ == "__main__":
    main()

"""From cells of a label to the circuit of their class, cell by cell; each cell's graph is kept until the end.

The graph of a cell is traced as `trace` does, its positions are added up and kept in a file. When all are there, means
are made in passes over the files, so that memory does not grow with cells. A run that was killed at any moment goes on
with the next cell and ends with the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from cellglass.cells.cells import Cells
from cellglass.circuits.asked import ask
from cellglass.circuits.build import MEMORY, build_graph
from cellglass.circuits.classes.cells import donors_of, ordered_cells
from cellglass.circuits.classes.circuit import ClassCircuit
from cellglass.circuits.classes.merging import merge, read_merged, totals_of, write_merged
from cellglass.circuits.classes.stability import halves
from cellglass.circuits.classes.tables import Part, choose, edge_table, node_table, seen_table, summed
from cellglass.circuits.meanings import told_of
from cellglass.circuits.tracing import FEATURES, check_labels, cost_of
from cellglass.circuits.transcoders import Transcoders
from cellglass.errors import InputError
from cellglass.files import atomic_path, locked, read_json, take_folder
from cellglass.models.base import CellModel
from cellglass.models.folder import digest
from cellglass.models.transformer.model import TransformerModel
from cellglass.progress import Progress, silent

Array = np.ndarray[Any, Any]

N_CELLS, NODES, GENES = 20, 200, 60


class ClassCost(NamedTuple):
    """What a class circuit takes, by its first cell.

    Attributes
    ----------
    cells, left : int
        Cells in all, and those that are not traced yet after the first.
    passes, bytes : int
        Of the first cell; see `cellglass.circuits.build.Cost`.
    seconds : float
        That the first cell took.
    """

    cells: int
    left: int
    passes: int
    bytes: int
    seconds: float


class _Planned(NamedTuple):
    """The cells of a class circuit: position, 0 for the class and 1 for the other, and unit."""

    position: int
    side: int
    unit: str


def class_circuit(
    model: CellModel,
    cells: Cells,
    label: str,
    transcoders: Transcoders,
    *,
    labels: str | None = None,
    against: str | None = None,
    target: str | None = None,
    batch: str | None = None,
    n_cells: int = N_CELLS,
    features: int = FEATURES,
    nodes: int = NODES,
    genes: int = GENES,
    folder: Path | str | None = None,
    seed: int = 0,
    memory: int = MEMORY,
    tell: Callable[[ClassCost], None] | None = None,
    progress: Progress = silent,
) -> ClassCircuit:
    """Return the circuit of a class of cells.

    Parameters
    ----------
    model
        A Cell2Sentence, scGPT or Geneformer.
    cells
        With raw counts.
    label
        The class.
    transcoders
        Of this model.
    labels
        Column of obs with the label; without it, the one that the transcoders were trained with.
    against
        Label of other cells, which are asked the same; the contrast is with them.
    target
        What is asked. Without it, `label` against `against` (Cell2Sentence).
    batch
        Column of obs with donors, which are the units of means and standard errors then. Cells are the units without.
    n_cells
        Of each label, or all that there are.
    features
        Most features of one cell's graph; see `trace`.
    nodes, genes
        Most features and genes of the class circuit, those of highest mean influence; others go to what was left out,
        and to one node of other genes.
    folder
        Where each cell's graph is kept; remove it when the circuit is written. With it, a run that was killed goes on.
    seed
        Of the choice of cells.
    memory
        As of `trace`.
    tell
        Told the cost when the first cell is traced.
    progress
        Told the cells that are traced.

    Returns
    -------
    ClassCircuit
        With ``about["stability"]`` where the class has four units or more; see
        `cellglass.circuits.classes.stability`. ``about["left_out"]``: cells that cannot be asked, with the reason.

    Raises
    ------
    InputError
        No such label or column, a question that no cell can be asked, transcoders of another model, or a folder that
        holds the work of another circuit.
    """
    labels = transcoders.labels if labels is None else labels
    if labels is None:
        raise InputError("the transcoders know no column of labels; say with labels which column of obs has the class")
    for name, number in (("n_cells", n_cells), ("features", features), ("nodes", nodes), ("genes", genes)):
        if number < 1:
            raise InputError(f"{name} is {number}; it must be at least 1")
    if against == label:
        raise InputError(f"{label!r} cannot be held against itself; give another label")
    net = transcoders.check(model)
    asked = (label, against) if target is None else (target, None)
    check_labels(cells, transcoders.labels, *asked)
    sides = [label] if against is None else [label, against]
    plan = _plan(cells, labels, sides, batch, n_cells, seed)
    about = {
        "model": net.kind, "fingerprint": transcoders.fingerprint, "cells": cells.source, "class": label,
        "other": against, "labels": labels, "batch": batch, "target": asked[0], "against": asked[1],
        "features": features, "nodes": nodes, "genes": genes, "seed": seed,
        "transcoders": transcoders.summary,
    }  # fmt: skip
    with _folder(folder) as place:
        take_folder(place, _job(about, cells, plan, transcoders), "the trace of a class")
        reasons, answer = _trace_all(net, cells, transcoders, plan, asked, place, features, memory, tell, progress)

        def parts() -> Iterator[Part]:
            for number in sorted(range(len(plan)), key=lambda i: plan[i].unit):
                if plan[number].position not in reasons:
                    yield Part(plan[number].unit, plan[number].side, read_merged(_file(place, number)))

        return _circuit(parts, cells, plan, reasons, {**about, "answer_label": answer}, transcoders, seed)


def _circuit(
    parts: Callable[[], Iterator[Part]], cells: Cells, plan: list[_Planned], reasons: dict[int, str],
    about: dict[str, Any], transcoders: Transcoders, seed: int,
) -> ClassCircuit:  # fmt: skip
    chosen = choose(parts, about["nodes"], about["genes"])
    found = summed(parts(), chosen)
    told = [n for n in found.cells if n]
    about |= {
        "cell_names": [
            [str(cells.obs.index[one.position]) for one in plan if one.side == side and one.position not in reasons]
            for side in range(len(told))
        ],
        "left_out": {str(cells.obs.index[position]): reason for position, reason in sorted(reasons.items())},
        "units": [running.n for running in found.sides[: len(told)]],
        "paired": found.is_paired,
        "title": f"{about['answer_label']} in {told[0]} cells of {about['class']}",
    }
    circuit = ClassCircuit(
        node_table(found, chosen, transcoders.names), edge_table(found, chosen), about, seen_table(found, chosen)
    )
    told_by_machine = told_of(transcoders.details, circuit.features("influence"))
    circuit = circuit.told(explained=told_by_machine) if told_by_machine else circuit
    graph, answers = circuit.graph(), circuit.nodes["kind"] == "answer"
    circuit = circuit.told(
        answer=float(circuit.nodes.loc[answers, "value"].iloc[0]),
        scores=graph.scores()._asdict(), bare=graph.bare().scores()._asdict(),
    )  # fmt: skip
    units, others = (
        sorted({one.unit for one in plan if one.side == side and one.position not in reasons}) for side in (0, 1)
    )
    table = halves(parts, units, chosen, others, seed=seed)
    return circuit if table is None else circuit.told(stability=table.to_dict("records"))


def _plan(cells: Cells, labels: str, sides: list[str], batch: str | None, n_cells: int, seed: int) -> list[_Planned]:
    found = []
    donors = None if batch is None else donors_of(cells, batch)
    for side, value in enumerate(sides):
        for position in ordered_cells(cells, labels, value, batch, seed)[:n_cells].tolist():
            unit = f"{position:09d}" if donors is None else str(donors[position])
            found.append(_Planned(position, side, unit))
    return found


def _trace_all(
    net: TransformerModel, cells: Cells, transcoders: Transcoders, plan: list[_Planned], asked: tuple[str, str | None],
    folder: Path, features: int, memory: int, tell: Callable[[ClassCost], None] | None, progress: Progress,
) -> tuple[dict[int, str], str]:  # fmt: skip
    """Trace every cell that is not in the folder yet; return the cells that cannot be asked, and what is asked."""
    reasons, label = {}, folder / "answer.json"
    todo = [n for n in range(len(plan)) if not (_file(folder, n).exists() or _left_out(folder, n).exists())]
    for number, one in enumerate(plan):
        if number in todo:
            start = time.perf_counter()
            try:
                this = ask(net, cells[one.position : one.position + 1], transcoders.stand_ins, *asked)
            except InputError as error:
                write_plain(_left_out(folder, number), str(error))
            else:
                question = this.question
                graph = build_graph(this.frozen, this.replacement, this.answers, question.texts, question.genes,
                                    most=features, memory=memory)  # fmt: skip
                write_plain(label, str(this.answers.labels[0]))
                write_merged(merge(graph, totals_of(this)), _file(folder, number))
                if tell is not None:
                    cost, seconds = cost_of(this, features, memory), time.perf_counter() - start
                    tell(ClassCost(len(plan), len(todo) - todo.index(number) - 1, cost.passes, cost.bytes, seconds))
                    tell = None
        if _left_out(folder, number).exists():
            reasons[one.position] = str(read_json(_left_out(folder, number), way_out=f"remove {folder}"))
        progress("trace cells", number + 1, len(plan))
    for side in sorted({one.side for one in plan}):
        own = [one.position for one in plan if one.side == side]
        if all(position in reasons for position in own):
            raise InputError(f"none of {len(own)} cells can be asked; of the first: {reasons[own[0]]}")
    return reasons, str(read_json(label, way_out=f"remove {folder}"))


def write_plain(path: Path, value: Any) -> None:
    """Keep a plain value as JSON, whole or not at all."""
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, allow_nan=False) + "\n", encoding="utf-8")


@contextmanager
def _folder(folder: Path | str | None) -> Iterator[Path]:
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="cellglass-") as place:
            yield Path(place)
    else:
        with locked(Path(folder), "trace of a class"):
            yield Path(folder)


def _file(folder: Path, number: int) -> Path:
    return folder / f"cell-{number:06d}.safetensors"


def _left_out(folder: Path, number: int) -> Path:
    return _file(folder, number).with_suffix(".json")


def _job(about: dict[str, Any], cells: Cells, plan: list[_Planned], transcoders: Transcoders) -> str:
    """Return the sha256 of all that the cells' graphs depend on."""
    told = hashlib.sha256(json.dumps([about, plan], sort_keys=True).encode())
    told.update("\n".join(str(cells.obs.index[one.position]) for one in plan).encode())
    told.update("\n".join(map(str, cells.genes.index)).encode())
    some = cells[np.array([one.position for one in plan])].counts
    for array in (some.data, some.indices, some.indptr):
        told.update(np.ascontiguousarray(array).tobytes())
    for one in transcoders.dictionaries:
        told.update(digest({"kind": one.kind}, one.state_dict()).encode())
    return told.hexdigest()

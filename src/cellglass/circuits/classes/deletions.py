r"""What deleting each gene takes from the answer of a class, and through what, merged over the cells of its circuit.

In each cell that made the circuit every gene that the model reads has its count set to 0 in turn, and the loss is taken
apart exactly: through features (those that go out, and those that come on), what transcoders miss, tokens, and the
rest, as `cellglass.circuits.deletion` says. Effects in a class circuit know nothing of features that a gene *keeps
out*; this does. A gene is a row:

    mean      over units (cells, or donors, whose values are means over their cells); 0 in a cell that does not read it
    share     of cells in which the gene is among those that together have 0.8 of what passes through features

That is a run of the model, there and back, for each gene and cell. Each cell's table is kept in a file until the end,
so that a run that was killed goes on with the next cell.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.cells.cells import Cells
from cellglass.circuits.answers import question
from cellglass.circuits.asked import ask
from cellglass.circuits.classes.cells import donors_of
from cellglass.circuits.classes.circuit import ClassCircuit
from cellglass.circuits.classes.merging import largest
from cellglass.circuits.classes.sums import Contrast
from cellglass.circuits.deletion import COLUMNS, counterfactuals
from cellglass.circuits.transcoders import Transcoders
from cellglass.errors import InputError, listed
from cellglass.files import atomic_path, read_json
from cellglass.models.base import CellModel
from cellglass.models.folder import digest
from cellglass.models.transformer.model import TransformerModel
from cellglass.progress import Progress, silent
from cellglass.seeds import derive

Array = np.ndarray[Any, Any]


class DeletionCost(NamedTuple):
    """What deleting each gene of each cell takes.

    Attributes
    ----------
    cells : int
        In all.
    passes : int
        Runs of the model, there and back, in all: genes that are read, summed over cells.
    left : int
        Those that are not done yet.
    seconds : float or None
        That one took in the first cell that was done; None before.
    """

    cells: int
    passes: int
    left: int
    seconds: float | None


class _Cell(NamedTuple):
    """A cell that made the circuit: its position, 0 of the class and 1 of the other label, and its unit."""

    position: int
    side: int
    unit: str


def class_deletions(
    circuit: ClassCircuit,
    model: CellModel,
    cells: Cells,
    transcoders: Transcoders,
    *,
    folder: Path | str | None = None,
    tell: Callable[[DeletionCost], None] | None = None,
    progress: Progress = silent,
) -> ClassCircuit:
    """Return the circuit with what each gene's deletion takes from its cells' answers, in ``without``.

    Parameters
    ----------
    circuit
    model, cells, transcoders
        Those that it was made from.
    folder
        Where each cell's table is kept, so that a run that was killed goes on.
    tell
        Told the cost before the first cell, and again, with the time, when one is done.
    progress
        Told the cells that are done.

    Raises
    ------
    InputError
        Another model, or cells that lack some of the circuit's.
    """
    about = circuit.about
    net = transcoders.check(model)
    if about["fingerprint"] != transcoders.fingerprint:
        raise InputError("the class circuit is of another model; give the one that it was made from")
    plan = _plan(circuit, cells)
    asked = about["target"], about["against"]
    given = [digest({"kind": one.kind}, one.state_dict()) for one in transcoders.dictionaries]
    key = derive(0, *map(str, asked), *given)
    with TemporaryDirectory(prefix="cellglass-") if folder is None else nullcontext(folder) as place:
        files = [Path(place) / f"without-{one.position:09d}-{key}.json" for one in plan]
        todo = [i for i, file in enumerate(files) if not file.exists()]
        passes = [_genes(net, cells[one.position : one.position + 1], asked) for one in plan] if tell else []
        left = sum(passes[i] for i in todo) if tell else 0
        if tell:
            tell(DeletionCost(len(plan), sum(passes), left, None))
        for number, (one, file) in enumerate(zip(plan, files, strict=True)):
            if number in todo:
                start = time.perf_counter()
                this = ask(net, cells[one.position : one.position + 1], transcoders.stand_ins, *asked)
                _keep(counterfactuals(this, transcoders.stand_ins), file)
                if tell:
                    left -= passes[number]
                    seconds = (time.perf_counter() - start) / max(1, passes[number])
                    tell(DeletionCost(len(plan), sum(passes), left, seconds))
                    tell = None
            progress("delete each gene of cells", number + 1, len(plan))
        return replace(circuit, without=_table(plan, files))


def _plan(circuit: ClassCircuit, cells: Cells) -> list[_Cell]:
    """Return the cells that made the circuit, those of one unit one after the other."""
    donors = None if circuit.about["batch"] is None else donors_of(cells, circuit.about["batch"])
    found = []
    for side, names in enumerate(circuit.about["cell_names"]):
        positions = cells.obs.index.get_indexer(pd.Index(names))
        missing = [name for name, position in zip(names, positions, strict=True) if position < 0]
        if missing:
            raise InputError(
                f"{cells.source}: lacks cells of the class circuit ({listed(missing)}); give the cells that it was "
                "made from"
            )
        for position in positions.tolist():
            found.append(_Cell(position, side, f"{position:09d}" if donors is None else str(donors[position])))
    return sorted(found, key=lambda one: one.unit)


def _genes(net: TransformerModel, cell: Cells, asked: tuple[Any, Any]) -> int:
    """Return how many genes the model reads of a cell; nothing is run for it."""
    gene = question(net, net.align(cell), *asked).tokens.gene
    return len(np.unique(gene[gene >= 0]))


def _keep(table: pd.DataFrame, file: Path) -> None:
    with atomic_path(file) as temporary:
        temporary.write_text(json.dumps(table.reset_index().to_dict("list")), encoding="utf-8")


def _kept(plan: list[_Cell], files: list[Path]) -> Iterator[tuple[_Cell, pd.DataFrame]]:
    for one, file in zip(plan, files, strict=True):
        yield one, pd.DataFrame(read_json(file, way_out=f"remove {file}")).set_index("gene")


def _table(plan: list[_Cell], files: list[Path]) -> pd.DataFrame:
    """Return one row a gene, by falling size of what passes through features; see `ClassCircuit`."""
    genes = sorted({gene for _, table in _kept(plan, files) for gene in table.index})
    found = Contrast()
    for one, table in _kept(plan, files):
        rows = table.reindex(genes)
        values: dict[str, Array] = {name: rows[name].fillna(0).to_numpy() for name in COLUMNS}
        own = {"read": rows["deletion"].notna().to_numpy(), "share": largest(values["features"])}
        found.add(one.unit, one.side, own | values)
    found.close()
    class_, other = found.sides
    columns: dict[str, Any] = {"gene": genes}
    for name in ("read", "share", *COLUMNS):
        columns[name] = class_.mean[name]
        if name in ("features", "deletion"):
            columns[f"{name}_sd"] = class_.sd(name)
    made = pd.DataFrame(columns)
    if other.n:
        for name in ("share", "features", "deletion"):
            made[f"other_{name}"] = other.mean[name]
        made["difference"], made["difference_se"] = found.difference("features")
    order = np.argsort(-made["features"].abs().to_numpy(), kind="stable")
    return made.iloc[order].reset_index(drop=True)

"""From what is wanted to what the page shows: cells are found, changes are tried in each, and means are told.

Numbers are of `cellglass.circuits.try_changes` and `try_in_cells`, with six digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from cellglass.errors import InputError, listed
from cellglass.explorer.data.json import short, shorts
from cellglass.explorer.trying.bench import Bench, Opened, label_of
from cellglass.explorer.trying.wanted import Count, Wanted

if TYPE_CHECKING:
    from cellglass.cells.cells import Cells
    from cellglass.circuits.answers import Target
    from cellglass.circuits.trying import Tried, TriedCells

DIGITS = 6
_CONCEPT = re.compile(r"(concept:[0-9]{1,9})(?: at \S+(?: of (.+))?)?")


class Step(NamedTuple):
    """How far a try is, in words and cells, and what is known by now."""

    what: str
    done: int
    total: int
    result: dict[str, Any] | None


def steps(bench: Bench, wanted: Wanted) -> Iterator[Step]:
    """Yield each step of a try; the last has the result.

    Raises
    ------
    InputError
        What is asked is not there, or cannot be asked of the cells.
    """
    from cellglass.circuits.trying import LeftOut, Tried, each_tried, summed

    about = bench.about(wanted.circuit)
    yield Step("opening the model", 0, 0, None)
    opened = bench.opened
    fingerprint = about.get("fingerprint")
    if opened.transcoders is not None and fingerprint and fingerprint != opened.transcoders.fingerprint:
        raise InputError("this circuit is of another model than the one that the explorer was started with")
    target, against = _asked(bench, opened, about)
    cells = _cells(bench, opened, about, wanted)
    yield Step("trying", 0, cells.n_cells, None)
    found: list[Tried | LeftOut] = []
    given = None if opened.transcoders is None else opened.transcoders.stand_ins
    for one in each_tried(opened.model, cells, given, target, against, changes=_changes(wanted), draws=wanted.draws):
        found.append(one)
        known = any(isinstance(each, Tried) for each in found)
        result = None
        if wanted.cell is not None:
            if isinstance(one, LeftOut):
                raise InputError(one.reason)
            result = _of_cell(one)
        elif known or len(found) == cells.n_cells:
            result = _of_cells(summed(found), str(wanted.label))
        yield Step("trying", len(found), cells.n_cells, result)


def _changes(wanted: Wanted) -> list[Any]:
    from cellglass.circuits import ScaleFeatures, SetCount

    return [
        SetCount(one.gene, one.count)
        if isinstance(one, Count)
        else ScaleFeatures(tuple(one.members), one.factor, one.gene)
        for one in wanted.changes
    ]


def _asked(bench: Bench, opened: Opened, about: dict[str, Any]) -> tuple[Target, Target | None]:
    """Return what a circuit asks, from its words; InputError of a direction, which no words hold."""
    from cellglass.atlas.circuits import target_of

    found: list[Any] = []
    for name in ("target", "against"):
        text = about.get(name)
        concept = _CONCEPT.fullmatch(text) if isinstance(text, str) else None
        if concept:
            found.append(target_of(bench.atlas, concept[1], concept[2]))
            continue
        if isinstance(text, str) and text.rpartition(" at ")[2].partition(" of ")[0] in opened.model.sites:
            raise InputError(f"this circuit asks {text}, a direction that its file does not hold; try it from Python")
        found.append(text)
    if not found[0]:
        raise InputError("this circuit does not say what it asks; trace it with cellglass trace")
    return found[0], found[1]


def _cells(bench: Bench, opened: Opened, about: dict[str, Any], wanted: Wanted) -> Cells:
    from cellglass.circuits.classes.cells import ordered_cells

    if wanted.cell is not None:
        place = int(opened.cells.obs.index.get_indexer(pd.Index([wanted.cell]))[0])
        if place < 0:
            some = listed(opened.cells.obs.index[:3])
            raise InputError(f"there is no cell {wanted.cell!r} among the cells; they are named as {some}, ...")
        return opened.cells[place : place + 1]
    column = label_of(about, bench.column)[0] if wanted.column is None else wanted.column
    if column is None:
        raise InputError("no column of labels is known, so no cells of a label are found; name one, or one cell")
    batch = about.get("batch")
    order = ordered_cells(opened.cells, column, str(wanted.label), batch if isinstance(batch, str) else None)
    return opened.cells[np.sort(order[: wanted.n])]


def _of_cell(one: Tried) -> dict[str, Any]:
    return {
        "cell": one.cell, "before": short(one.before, DIGITS), "after": short(one.after, DIGITS),
        "change": short(one.change, DIGITS), "control": shorts(one.control - one.before, DIGITS),
        "share": short(one.share), "touched": one.touched, "norm": short(one.norm, DIGITS),
        "words": _words(one),
    }  # fmt: skip


def _of_cells(one: TriedCells, label: str) -> dict[str, Any]:
    first = next(iter(one.left_out.values()), "")
    return {
        "label": label, "n": one.n, "sd": short(one.sd, DIGITS), "before": short(one.before, DIGITS),
        "after": short(one.after, DIGITS), "change": short(one.change, DIGITS),
        "control": shorts(one.control, DIGITS), "share": short(one.share), "touched": one.touched,
        "words": _words(one), "left_out": len(one.left_out), "reason": first,
    }  # fmt: skip


def _words(one: Tried | TriedCells) -> list[dict[str, Any]]:
    """Return of each word its probability before, after, and in the draws on average."""
    drawn = one.chances[2:]
    there = np.isfinite(drawn).all(axis=1)
    mean = drawn[there].mean(axis=0) if there.any() else np.full(len(one.words), np.nan)
    rows = zip(one.words, one.chances[0], one.chances[1], mean, strict=True)
    return [
        {"word": word, "before": short(a, DIGITS), "after": short(b, DIGITS), "control": short(c, DIGITS)}
        for word, a, b, c in rows
    ]

"""What a reader asks to be tried, from JSON: which circuit, which changes, in one cell or in cells of a label.

    {"circuit": NAME, "changes": [CHANGE, ...], "cell": NAME}    or, in place of the cell,
    "label": TEXT, "column": COLUMN | null, "n": 30              and with both "draws": 20

    CHANGE    {"features": [[layer, number], ...], "factor": 0, "gene": SYMBOL | "" | null}
              {"gene": SYMBOL, "count": 0}

Bounds are here too: nothing that passes takes without end. Names are looked up later, by whoever has the model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from cellglass.errors import InputError

MOST_CHANGES, MOST_MEMBERS, MOST_FACTOR, MOST_COUNT = 20, 500, 4, 1_000_000
MOST_CELLS, MOST_DRAWS = 200, 100
CELLS, DRAWS = 30, 20
_LONGEST = 300


@dataclass(frozen=True)
class Features:
    """Features to scale, as of `cellglass.circuits.ScaleFeatures`."""

    members: list[tuple[int, int]]
    factor: float
    gene: str | None


@dataclass(frozen=True)
class Count:
    """A count to set, as of `cellglass.circuits.SetCount`."""

    gene: str
    count: int


class Wanted(NamedTuple):
    """What is to be tried: in a cell, or in `n` cells of a label, of the circuit's column where none is named."""

    circuit: str
    changes: list[Features | Count]
    cell: str | None
    label: str | None
    n: int
    draws: int
    column: str | None = None


def read_wanted(value: Mapping[str, Any]) -> Wanted:
    """Return what is asked; InputError names what cannot be."""
    changes = value.get("changes")
    if not isinstance(changes, list) or not 1 <= len(changes) <= MOST_CHANGES:
        raise InputError(f"changes: they must be a list of 1 to {MOST_CHANGES}")
    cell, label, column = value.get("cell"), value.get("label"), value.get("column")
    if (cell is None) == (label is None):
        raise InputError("cell, label: one of both must be named")
    return Wanted(
        _text(value.get("circuit"), "circuit"),
        [_change(one) for one in changes],
        None if cell is None else _text(cell, "cell"),
        None if label is None else _text(label, "label"),
        _whole(value.get("n", CELLS), "n", 1, MOST_CELLS),
        _whole(value.get("draws", DRAWS), "draws", 1, MOST_DRAWS),
        None if column is None else _text(column, "column"),
    )


def _change(value: Any) -> Features | Count:
    if not isinstance(value, dict) or ("features" in value) == ("count" in value):
        raise InputError("changes: each names features with a factor, or a gene with a count")
    if "count" in value:
        gene = _text(value.get("gene"), "gene")
        return Count(gene, _whole(value["count"], f"the count of {gene}", 0, MOST_COUNT))
    members, at = value["features"], value.get("gene")
    factor: Any = value.get("factor")
    if not isinstance(members, list) or not 1 <= len(members) <= MOST_MEMBERS or not all(map(_is_pair, members)):
        raise InputError(f"features: they must be a list of 1 to {MOST_MEMBERS} pairs of layer and number")
    if type(factor) not in (int, float) or not 0 <= factor <= MOST_FACTOR:  # not a number is not between them either
        raise InputError(f"factor: it must be a number from 0 to {MOST_FACTOR}")
    return Features([(one[0], one[1]) for one in members], float(factor), at if at in (None, "") else _text(at, "gene"))


def _is_pair(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(type(one) is int and 0 <= one < 1 << 31 for one in value)


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= _LONGEST:
        raise InputError(f"{name}: it must be a name of 1 to {_LONGEST} characters")
    return value


def _whole(value: Any, name: str, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise InputError(f"{name}: it must be a whole number from {least} to {most:,}")
    return value

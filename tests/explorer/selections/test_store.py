"""The store of selections: what is kept, changed and taken back; and which selections are refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellglass.errors import InputError
from cellglass.explorer.notes.store import Notes
from cellglass.explorer.selections.bits import pack, to_text
from cellglass.explorer.selections.store import Changed, Selections

N = 40


def told(name: str, rows: Any = (1, 5), **more: Any) -> dict[str, Any]:
    return {"name": name, "who": "Ada", "how": "lasso", "cells": "c", "bits": to_text(pack(np.array(rows), N)), **more}


@pytest.fixture
def notes(tmp_path: Path) -> Iterator[Notes]:
    with Notes(tmp_path / "n.sqlite", "atlas") as file:
        yield file


@pytest.fixture
def kept(notes: Notes) -> Selections:
    return Selections(notes, "c", N)


def test_a_selection_is_kept_renamed_deleted_and_put_back(kept: Selections, notes: Notes) -> None:
    made = kept.add(told(" T  cells\n", [3, 4, 39]))
    key = made["selection"]
    assert (made["name"], made["n"], made["undoable"]) == ("T  cells", 3, False)
    renamed = kept.change({"selection": key, "base": made["head"], "who": "Ben", "name": "B"})
    assert (renamed["name"], renamed["who"], renamed["changed_by"]) == ("B", "Ada", "Ben")
    with pytest.raises(Changed) as error:
        kept.change({"selection": key, "base": made["head"], "who": "Ada", "deleted": True})
    assert error.value.present == renamed
    gone = kept.change({"selection": key, "base": renamed["head"], "who": "Ben", "deleted": True})
    assert kept.states() == {}
    again = kept.add(told("B"))  # the name of a deleted one is free
    back = kept.undo({"selection": key, "base": gone["head"], "who": "Ada"})
    assert (back["name"], back["deleted"]) == ("B", False)
    other = Selections(notes, "c", N)  # as another process reads it
    assert list(other.states()) == [key, again["selection"]]
    np.testing.assert_array_equal(other.rows(key), [3, 4, 39])
    assert [one["bits"] is None for one in other.revisions()].count(True) == 3, "cells are kept once"
    with pytest.raises(InputError, match="nothing to undo"):
        kept.undo({"selection": again["selection"], "base": again["head"], "who": "Ada"})


def test_a_write_that_is_sent_again_adds_nothing(kept: Selections) -> None:
    first = kept.add(told("x", selection="a" * 32))
    assert kept.add(told("x", selection="a" * 32)) == first
    assert len(kept.revisions()) == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"name": ""}, "name: it is empty"), ({"name": "x" * 101}, "name: it has 101"),
        ({"name": "\x00"}, "name: it holds"),
        ({"name": None}, "name: it must be text"), ({"who": ""}, "who: it is empty"), ({"how": 3}, "how: it must"),
        ({"bits": "?"}, "bits: they must be base64"),
        ({"bits": to_text(pack(np.arange(2), 99))}, "not of the 40 cells"),
        ({"bits": to_text(pack(np.arange(0), N))}, "has no cells"), ({"cells": "d"}, "of the cells of another atlas"),
        ({"name": "taken"}, "already"), ({"selection": "A"}, "selection: it must be 32"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_and_nothing_is_written(kept: Selections, wrong: dict[str, Any], says: str) -> None:
    kept.add(told("taken"))
    with pytest.raises(InputError, match=says):
        kept.add(told("x") | wrong)
    assert len(kept.revisions()) == 1


def test_selections_of_other_cells_are_counted_and_not_shown(kept: Selections, notes: Notes) -> None:
    state = kept.add(told("x"))
    other = Selections(notes, "d", N + 1)
    assert (other.states(), other.strangers(), kept.strangers()) == ({}, 1, 0)
    with pytest.raises(InputError, match="no such selection"):
        other.rows(state["selection"])

"""Selections that are kept: in tables of their own in the file of notes, with the same promises.

A selection is a chain of revisions: the first holds its cells, which never change, each further one a name, or that it
was deleted. Nothing is ever removed, and undo is a further revision. A write names the revision that it was based on;
where another came between, nothing is written and `Changed` holds what is there now. A write that has returned is on
the disk.

State of a selection, as the API gives it: ``{"selection", "name", "who", "when", "how", "n", "head", "deleted",
"undoable", "changed_by", "changed"}``.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from cellglass.errors import InputError
from cellglass.explorer.notes import rules
from cellglass.explorer.notes.store import Conflict, Notes
from cellglass.explorer.selections import bits

if TYPE_CHECKING:
    from cellglass.explorer.data.source import Source

Array = np.ndarray[Any, Any]
Revision = dict[str, Any]

NAME_LENGTH, HOW_LENGTH = 100, 500
MOST = 2000
"""Selections of one atlas, deleted ones too."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS selections (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, selection TEXT NOT NULL, who TEXT NOT NULL,
  "when" TEXT NOT NULL, name TEXT NOT NULL, how TEXT NOT NULL, deleted INTEGER NOT NULL, base TEXT,
  cells TEXT NOT NULL, n INTEGER NOT NULL, bits BLOB);
CREATE INDEX IF NOT EXISTS of_selection ON selections (selection);
"""
COLUMNS = ("id", "selection", "who", "when", "name", "how", "deleted", "base", "cells", "n", "bits")
_LIGHT = 'SELECT seq, id, selection, who, "when", name, how, deleted, base, cells, n FROM selections'
"""A revision without its cells."""


class Changed(Conflict):
    """Another revision came between; `present` is the selection's state now."""

    def __init__(self, present: dict[str, Any]) -> None:
        Exception.__init__(self, "the selection was changed since you opened it")
        self.present = present


class Selections:
    """The selections of one atlas.

    Parameters
    ----------
    notes : Notes
        The open file in which they are kept.
    cells : str
        What tells the atlas's cells from others (`cellglass.explorer.data.cells_id`).
    n : int
        The number of cells.
    """

    def __init__(self, notes: Notes, cells: str, n: int) -> None:
        self.notes, self.cells, self.n = notes, cells, n
        with notes.transaction() as file:
            for statement in SCHEMA.split(";"):
                file.execute(statement)

    def add(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Keep a new selection and return its state.

        Parameters
        ----------
        told : mapping
            ``name``, ``who``, ``how`` (how it was made, in words), ``bits`` (base64 of `bits.pack`), ``cells`` (of
            which cells), and by choice ``selection``: an id of its own, so that a write sent again adds nothing.
        """
        name, who = check_name(told.get("name")), rules.check_who(told.get("who"))
        how = rules.check_text(told.get("how", ""), "how", HOW_LENGTH).replace("\n", " ")
        self.check_cells(told.get("cells"))
        packed = bits.from_text(told.get("bits"))
        rows = bits.unpack(packed, self.n)
        if not len(rows):
            raise InputError("bits: the selection has no cells; select some first")
        key = check_id(told["selection"], "selection") if told.get("selection") is not None else _fresh()
        with self.notes.transaction() as file:
            there = self.states(deleted=True)
            if key in there:
                return there[key]
            self._check_free(name, there)
            if len(there) >= MOST:
                raise InputError(f"the atlas has {MOST:,} selections, deleted ones too; name another file with --notes")
            made = {"selection": key, "who": who, "name": name, "how": how, "deleted": False, "base": None}
            self.insert(file, {**made, "id": _fresh(), "when": rules.now(), "n": len(rows), "bits": packed})
            return self.state(key)

    def change(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Rename a selection (``name``) or delete it (``deleted``); ``selection``, ``base`` and ``who`` say which."""
        key, who = check_id(told.get("selection"), "selection"), rules.check_who(told.get("who"))
        if not isinstance(told.get("deleted", False), bool):
            raise InputError("deleted: it must be true or false")
        with self.notes.transaction() as file:
            head = self._head(key, told.get("base"))
            name = head["name"] if told.get("name") is None else check_name(told["name"])
            deleted = bool(told.get("deleted", head["deleted"]))
            if name != head["name"]:
                self._check_free(name, {k: v for k, v in self.states().items() if k != key})
            return self._append(file, head, who, name, deleted)

    def undo(self, told: Mapping[str, Any]) -> dict[str, Any]:
        """Say again what stood before the last change of a selection: its name, and that it was there."""
        key, who = check_id(told.get("selection"), "selection"), rules.check_who(told.get("who"))
        with self.notes.transaction() as file:
            head = self._head(key, told.get("base"))
            before = [one for one in self._chain(key) if one["id"] == head["base"]]
            if not before:
                raise InputError("selection: there is nothing to undo")
            return self._append(file, head, who, before[0]["name"], bool(before[0]["deleted"]))

    def states(self, *, deleted: bool = False) -> dict[str, dict[str, Any]]:
        """Return the state of every selection by its id, in the order in which they were made."""
        grouped: dict[str, list[sqlite3.Row]] = {}
        for row in self.notes.query(f'{_LIGHT} WHERE cells=? ORDER BY "when", seq', (self.cells,)):
            grouped.setdefault(row["selection"], []).append(row)
        every = {key: _state(chain) for key, chain in grouped.items() if chain[0]["base"] is None}
        return {key: state for key, state in every.items() if deleted or not state["deleted"]}

    def state(self, key: str) -> dict[str, Any]:
        """Return the state of one selection; InputError where there is none."""
        return _state(self._chain(key))

    def packed(self, key: str) -> bytes:
        """Return the cells of a selection as `bits.pack` has them."""
        found = self.notes.query(
            "SELECT bits FROM selections WHERE selection=? AND cells=? AND bits IS NOT NULL",
            (check_id(key, "selection"), self.cells),
        )
        if not found:
            raise InputError("selection: the atlas has no such selection")
        return bytes(found[0]["bits"])

    def rows(self, key: str) -> Array:
        """Return the positions of the cells of a selection, int64 ascending."""
        return bits.unpack(self.packed(key), self.n)

    def revisions(self) -> list[Revision]:
        """Return all revisions, the oldest first, as `insert` takes them."""
        found = self.notes.query('SELECT * FROM selections WHERE cells=? ORDER BY "when", seq', (self.cells,))
        return [{**{name: row[name] for name in COLUMNS}, "deleted": bool(row["deleted"])} for row in found]

    def strangers(self) -> int:
        """Return how many selections in the file are of other cells; they are kept and not shown."""
        found = self.notes.query("SELECT COUNT(DISTINCT selection) AS n FROM selections WHERE cells<>?", (self.cells,))
        return int(found[0]["n"])

    def insert(self, file: sqlite3.Connection, revision: Mapping[str, Any]) -> int:
        """Add a revision as it is to the `file` of a transaction; return 1, or 0 where it is there already."""
        row = {**revision, "cells": self.cells, "deleted": int(revision["deleted"])}
        names, marks = ", ".join(f'"{name}"' for name in COLUMNS), ", ".join("?" * len(COLUMNS))
        done = file.execute(
            f"INSERT OR IGNORE INTO selections ({names}) VALUES ({marks})",  # noqa: S608  (names of our own)
            tuple(row[name] for name in COLUMNS),
        )
        return done.rowcount

    def check_cells(self, cells: object) -> None:
        """Raise InputError where a selection says that it is of other cells."""
        if cells != self.cells:
            raise InputError("cells: the selection is of the cells of another atlas; select in the page of this one")

    def _chain(self, key: str) -> list[sqlite3.Row]:
        chain = self.notes.query(f'{_LIGHT} WHERE selection=? AND cells=? ORDER BY "when", seq', (key, self.cells))
        if not chain:
            raise InputError("selection: the atlas has no such selection")
        return chain

    def _head(self, key: str, base: object) -> sqlite3.Row:
        chain = self._chain(key)
        if base != chain[-1]["id"]:
            raise Changed(_state(chain))
        return chain[-1]

    def _append(
        self, file: sqlite3.Connection, head: sqlite3.Row, who: str, name: str, deleted: bool
    ) -> dict[str, Any]:
        when = rules.now()
        if when <= head["when"]:  # a clock that was set back
            when = rules.after(head["when"])
        kept = {key: head[key] for key in ("selection", "how", "n")}
        told = {"id": _fresh(), "who": who, "when": when, "name": name, "deleted": deleted, "base": head["id"]}
        self.insert(file, {**kept, **told, "bits": None})
        return self.state(head["selection"])

    @staticmethod
    def _check_free(name: str, there: Mapping[str, Mapping[str, Any]]) -> None:
        if any(state["name"] == name and not state["deleted"] for state in there.values()):
            raise InputError(f"name: there is a selection called {name!r} already; choose another name")


def selections_of(notes: Notes, source: Source) -> Selections:
    """Return the selections that the file of `notes` holds of the cells of an atlas."""
    from cellglass.explorer.data.cells_id import cells_id

    return Selections(notes, cells_id(source), source.n_cells)


def check_name(value: object) -> str:
    """Return the name of a selection, or raise InputError."""
    return rules.check_text(value, "name", NAME_LENGTH, needed=True).replace("\n", " ")


def check_id(value: object, name: str) -> str:
    """Return the id of a selection or of a revision of one, or raise InputError."""
    try:
        found = rules.check_link(value, name)
    except InputError:
        found = None
    if found is None:
        raise InputError(f"{name}: it must be 32 hexadecimal digits")
    return found


def _fresh() -> str:
    return secrets.token_hex(16)


def _state(chain: Sequence[sqlite3.Row]) -> dict[str, Any]:
    first, last = chain[0], chain[-1]
    made = {"selection": first["selection"], "who": first["who"], "when": first["when"], "how": first["how"]}
    now = {"name": last["name"], "n": first["n"], "head": last["id"], "deleted": bool(last["deleted"])}
    return {**made, **now, "undoable": last["base"] is not None, "changed_by": last["who"], "changed": last["when"]}

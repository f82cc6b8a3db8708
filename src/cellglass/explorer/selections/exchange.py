"""Selections that go from hand to hand: as JSON, which `merge_selections` takes back, or as a table of cells.

    {"format": "cellglass.selections", "schema": 1, "cells": which cells, "n_cells": how many, "revisions": [...]}

A revision has the fields of `store.COLUMNS`, with its bits in base64 or null. The page of an export writes the same.
Another file of notes (SQLite) may be merged too.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from cellglass.errors import InputError
from cellglass.explorer.notes import rules
from cellglass.explorer.selections import bits
from cellglass.explorer.selections.store import COLUMNS, HOW_LENGTH, MOST, Revision, Selections, check_id, check_name
from cellglass.files import atomic_path, read_json

FORMAT, SCHEMA_VERSION = "cellglass.selections", 1
_WAY_OUT = "name a file that `cellglass selections --export` or the page of an export wrote"


def selections_json(kept: Selections) -> str:
    """Return all revisions as JSON."""
    revisions = [
        {**one, "bits": None if one["bits"] is None else bits.to_text(one["bits"])} for one in kept.revisions()
    ]
    head = {"format": FORMAT, "schema": SCHEMA_VERSION, "cells": kept.cells, "n_cells": kept.n}
    return json.dumps({**head, "revisions": revisions}, ensure_ascii=False, indent=1) + "\n"


def selections_csv(kept: Selections, names: Callable[[int], str]) -> str:
    """Return the present selections as a table, a row for each of their cells; `names` gives a cell's name."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(["selection", "cell"])
    for key, state in kept.states().items():
        writer.writerows([_plain(state["name"]), _plain(names(row))] for row in kept.rows(key).tolist())
    return out.getvalue()


def export_selections(kept: Selections, path: Path | str, names: Callable[[int], str]) -> Path:
    """Write selections to `path`: JSON with the whole history, or, where its name ends in ``.csv``, a table."""
    path = Path(path)
    text = selections_csv(kept, names) if path.suffix.lower() == ".csv" else selections_json(kept)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
    return path


def merge_selections(kept: Selections, files: Iterable[Path | str]) -> int:
    """Add what `files` hold and `kept` lacks, and return how many changes were new.

    All files are read and checked before anything is written.

    Raises
    ------
    InputError
        If a file cannot be read, holds something that is no selection, or selections of other cells.
    """
    read = [_read_sqlite(kept, path) if _is_sqlite(path) else _read_json(kept, path) for path in map(Path, files)]
    with kept.notes.transaction() as file:
        return sum(kept.insert(file, revision) for revisions in read for revision in revisions)


def check_revision(value: object, n: int) -> Revision:
    """Return a revision from a foreign file as the store keeps it, or raise InputError."""
    if not isinstance(value, Mapping):
        raise InputError("a selection is no object")
    base, packed = value.get("base"), value.get("bits")
    done: Revision = {
        "id": check_id(value.get("id"), "id"),
        "selection": check_id(value.get("selection"), "selection"),
        "who": rules.check_who(value.get("who")),
        "when": rules.check_when(value.get("when")),
        "name": check_name(value.get("name")),
        "how": rules.check_text(value.get("how", ""), "how", HOW_LENGTH).replace("\n", " "),
        "deleted": bool(value.get("deleted")),
        "base": None if base is None else check_id(base, "base"),
        "bits": None if packed is None else bits.from_text(packed) if isinstance(packed, str) else bytes(packed),
    }
    if (done["base"] is None) == (done["bits"] is None):
        raise InputError("bits: the first revision of a selection, and no other, must hold its cells")
    given = value.get("n")
    if done["bits"] is not None:
        given = len(bits.unpack(done["bits"], n))
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= n:
        raise InputError(f"n: it must be the number of the selection's cells, from 1 to {n:,}")
    return {**done, "n": given}


def _read_json(kept: Selections, path: Path) -> list[Revision]:
    document = read_json(path, way_out=_WAY_OUT)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{path}: it is no file of cellglass selections; {_WAY_OUT}")
    if document.get("schema") != SCHEMA_VERSION:
        raise InputError(f"{path}: a newer cellglass wrote it; update with: pip install -U cellglass")
    if not isinstance(document.get("revisions"), list) or len(document["revisions"]) > 20 * MOST:
        raise InputError(f"{path}: it holds no list of revisions; {_WAY_OUT}")
    _check_cells(kept, document.get("cells"), path)
    return _checked(kept, document["revisions"], path)


def _read_sqlite(kept: Selections, path: Path) -> list[Revision]:
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as file:
            file.row_factory = sqlite3.Row
            tables = {row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type='table'")}
            rows = file.execute("SELECT * FROM selections ORDER BY seq").fetchall() if "selections" in tables else []
    except sqlite3.Error as error:
        raise InputError(f"{path}: this is no file of cellglass notes ({error}); {_WAY_OUT}") from error
    for cells in {row["cells"] for row in rows}:
        _check_cells(kept, cells, path)
    return _checked(kept, [{name: row[name] for name in COLUMNS} for row in rows], path)


def _check_cells(kept: Selections, cells: object, path: Path) -> None:
    if cells != kept.cells:
        raise InputError(
            f"{path}: these are selections of other cells than this atlas has; merge only those of the same cells"
        )


def _checked(kept: Selections, revisions: list[Any], path: Path) -> list[Revision]:
    done = []
    for number, revision in enumerate(revisions):
        try:
            done.append(check_revision(revision, kept.n))
        except InputError as error:
            raise InputError(f"{path}: selection {number + 1}: {error}") from error
    known = {one["selection"] for one in done if one["base"] is None} | set(kept.states(deleted=True))
    lost = [one for one in done if one["selection"] not in known]
    if lost:
        raise InputError(
            f"{path}: it renames or deletes a selection, {lost[0]['name']!r}, whose cells it does not hold"
        )
    return done


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as handle:
            return handle.read(16) == b"SQLite format 3\0"
    except OSError as error:
        raise InputError(f"{path}: it cannot be read ({error.strerror}); {_WAY_OUT}") from error


def _plain(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text

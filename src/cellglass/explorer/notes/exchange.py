"""Notes that go from hand to hand: files merged into one, and all notes written as JSON or as a table.

A file is SQLite, as the server keeps it, or JSON, as the page of an export and `export_notes` write it:
``{"format": "cellglass.notes", "schema": 1, "atlas": fingerprint, "revisions": [...]}``. Merging loses nothing: it adds
the revisions that were not there, and the same note from the same person and time is one. Ratings of blind reviews
come along from SQLite files.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import sqlite3
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from cellglass.errors import InputError
from cellglass.explorer.notes import rules
from cellglass.explorer.notes.store import SCHEMA_VERSION, Notes, Revision
from cellglass.files import atomic_path, read_json

FORMAT = "cellglass.notes"
LARGEST_FILE = 1 << 30
CSV_COLUMNS = (
    *("latent", "by", "who", "when", "label", "text", "confidence", "tags", "status", "present", "id", "base"),
)


class Merged(NamedTuple):
    """What a merge brought."""

    revisions: int
    """Revisions that were new."""
    answers: int
    """Ratings of blind reviews that were new."""


def merge_notes(notes: Notes, files: Iterable[Path | str]) -> Merged:
    """Add to `notes` all that `files` hold; all files are read and checked before anything is written.

    Raises
    ------
    InputError
        If a file cannot be read, holds something that is no note, or belongs to another atlas; or if the same rating
        of a review stands differently in two files.
    """
    paths = [Path(file) for file in files]
    read = [_read_sqlite(path) if _is_sqlite(path) else _read_json(path) for path in paths]
    for path, (atlas, revisions, _, _) in zip(paths, read, strict=True):
        if atlas is not None and notes.atlas is not None and atlas != notes.atlas:
            raise InputError(f"{path}: these are the notes of another atlas; merge only notes of the same one")
        for revision in revisions:
            if notes.latents is not None and revision["latent"] not in notes.latents:
                raise InputError(f"{path}: it holds a note on concept {revision['latent']}, which the atlas lacks")
    with notes.transaction() as file:
        fresh = sum(notes.insert(revision) for _, revisions, _, _ in read for revision in revisions)
        for _, _, sessions, _ in read:
            for session in sessions:
                file.execute("INSERT OR IGNORE INTO sessions VALUES (?, ?, ?, ?, ?)", session)
                if session[4] is not None:
                    file.execute("UPDATE sessions SET ended=? WHERE id=? AND ended IS NULL", (session[4], session[0]))
        answers = sum(
            _add_answer(file, answer, path)
            for path, (_, _, _, given) in zip(paths, read, strict=True)
            for answer in given
        )
    return Merged(fresh, answers)


def notes_file(notes: Notes | None, atlas: str) -> bytes:
    """Return all notes with their history as JSON, and the atlas that a file which is sent back must name."""
    revisions = [] if notes is None else notes.revisions()
    document = {"format": FORMAT, "schema": SCHEMA_VERSION, "atlas": atlas, "revisions": revisions}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def export_notes(notes: Notes, path: Path | str) -> Path:
    """Write all revisions to `path`: JSON with the whole history, or, where its name ends in ``.csv``, a table.

    In the table a text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    path = Path(path)
    text = notes_csv(notes) if path.suffix.lower() == ".csv" else notes_json(notes)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")
    return path


def notes_json(notes: Notes) -> str:
    """Return all revisions as JSON."""
    document = {"format": FORMAT, "schema": SCHEMA_VERSION, "atlas": notes.atlas, "revisions": notes.revisions()}
    return json.dumps(document, ensure_ascii=False, indent=1) + "\n"


def notes_csv(notes: Notes) -> str:
    """Return all revisions as a table, one row each; ``present`` says which ones stand now."""
    heads = {state[by]["id"] for state in notes.states().values() for by in rules.KINDS if state[by]}
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(CSV_COLUMNS)
    for revision in notes.revisions():
        row = {**revision, "tags": "; ".join(revision["tags"]), "present": "yes" if revision["id"] in heads else "no"}
        writer.writerow([_cell(row[name]) for name in CSV_COLUMNS])
    return out.getvalue()


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")):
        return f"'{value}"
    return "" if value is None else value


Content = tuple[str | None, list[Revision], list[tuple[Any, ...]], list[tuple[Any, ...]]]


def _is_sqlite(path: Path) -> bool:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path}: it is larger than any file of notes; name another file")
        with path.open("rb") as handle:
            return handle.read(16) == b"SQLite format 3\0"
    except OSError as error:
        raise InputError(f"{path}: it cannot be read ({error.strerror}); name a file of notes") from error


def _read_sqlite(path: Path) -> Content:
    """Return what a database holds; it is opened through its own log, so that a live server's last notes are seen."""
    try:
        with contextlib.closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=30)) as file:
            file.row_factory = sqlite3.Row
            file.execute("BEGIN")
            kept = dict(file.execute("SELECT key, value FROM meta").fetchall())
            rows = file.execute("SELECT * FROM revisions ORDER BY seq").fetchall()
            sessions = [tuple(row) for row in file.execute('SELECT id, seed, design, "when", ended FROM sessions')]
            answers = [tuple(row) for row in file.execute(_ANSWERS)]
    except sqlite3.Error as error:
        raise InputError(f"{path}: this is no file of cellglass notes ({error}); name another file") from error
    if kept.get("schema") != str(SCHEMA_VERSION):
        raise InputError(f"{path}: a newer cellglass wrote it; update with: pip install -U cellglass")
    try:
        plain = [{**dict(r), **json.loads(r["content"]), "also": json.loads(r["also"])} for r in rows]
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: a note in it is damaged; name another file") from error
    return kept.get("atlas"), _checked(plain, path), sessions, answers


def _read_json(path: Path) -> Content:
    document = read_json(path, way_out="name a file of cellglass notes, SQLite or JSON")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise InputError(f"{path}: it is no file of cellglass notes; name another file")
    if document.get("schema") != SCHEMA_VERSION:
        raise InputError(f"{path}: a newer cellglass wrote it; update with: pip install -U cellglass")
    revisions, atlas = document.get("revisions"), document.get("atlas")
    if not isinstance(revisions, list) or not (atlas is None or isinstance(atlas, str)):
        raise InputError(f"{path}: it holds no list of revisions; name another file")
    return atlas, _checked(revisions, path), [], []


def _checked(revisions: list[Any], path: Path) -> list[Revision]:
    done = []
    for number, revision in enumerate(revisions):
        try:
            done.append(rules.check_revision(revision))
        except InputError as error:
            raise InputError(f"{path}: note {number + 1}: {error}") from error
    return done


_ANSWERS = 'SELECT session, rater, position, rating, label, comment, seconds, "when" FROM answers'


def _add_answer(file: sqlite3.Connection, answer: tuple[Any, ...], path: Path) -> int:
    """Add a rating; return 1 where it was new."""
    found = file.execute(f"{_ANSWERS} WHERE session=? AND rater=? AND position=?", answer[:3]).fetchone()
    if found is None:
        file.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", answer)
        return 1
    if tuple(found) != answer:
        raise InputError(
            f"{path}: item {answer[2] + 1} of rater {answer[1]!r} is rated differently in another file; "
            "two people used one name (rename one of them), or one rated it anew (merge the newer file alone)"
        )
    return 0

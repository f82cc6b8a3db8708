"""What people (and programs) wrote about concepts, kept in one SQLite file.

Nothing is ever changed or deleted: a note is a chain of revisions, and undo is a further one. A write names the
revision that it was based on; where another came between, nothing is written and `Conflict` holds what is there now.
A write that has returned is on the disk (write-ahead log, synced at each commit). Machines and people have histories
of their own. Ratings of a blind review lie in the same file; of them a rater may change the last.

State of a concept, as the API gives it: ``{"latent", "person": revision or None, "machine": revision or None}``, and a
revision with ``"others"``: what was written at the same time elsewhere and came in by `merge`, until the next write.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from cellglass.errors import InputError
from cellglass.explorer.notes import rules

SCHEMA_VERSION = 1
SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS revisions (
  seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, latent INTEGER NOT NULL, "by" TEXT NOT NULL,
  who TEXT NOT NULL, "when" TEXT NOT NULL, content TEXT NOT NULL, base TEXT, also TEXT NOT NULL, restores TEXT,
  undoes TEXT);
CREATE INDEX IF NOT EXISTS of_concept ON revisions (latent, "by");
CREATE TABLE IF NOT EXISTS sessions (
  id TEXT PRIMARY KEY, seed TEXT NOT NULL, design TEXT NOT NULL, "when" TEXT NOT NULL, ended TEXT);
CREATE TABLE IF NOT EXISTS answers (
  session TEXT NOT NULL, rater TEXT NOT NULL, position INTEGER NOT NULL, rating INTEGER NOT NULL,
  label TEXT NOT NULL, comment TEXT NOT NULL, seconds REAL NOT NULL, "when" TEXT NOT NULL,
  PRIMARY KEY (session, rater, position));
"""
Revision = dict[str, Any]


class Conflict(Exception):  # noqa: N818  # an answer, not a failure
    """Another revision came between; `present` is the concept's state now."""

    def __init__(self, present: dict[str, Any]) -> None:
        super().__init__("the note was changed since you opened it")
        self.present = present


class Notes:
    """An open file of notes; a context manager. Any number of threads and processes may write to one file.

    Parameters
    ----------
    path
        The SQLite file; made where there is none.
    atlas : str, optional
        Fingerprint of the atlas; a file of another atlas is refused. None takes any.
    latents : iterable of int, optional
        The concepts that there are; None takes any number.
    """

    def __init__(self, path: Path | str, atlas: str | None = None, latents: Iterable[int] | None = None) -> None:
        self.path = Path(path)
        self.latents = None if latents is None else frozenset(map(int, latents))
        self._lock = threading.RLock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error
        try:
            self._file.row_factory = sqlite3.Row
            self._prepare(atlas)
        except sqlite3.Error as error:
            self._file.close()
            raise self._unusable(error) from error
        except InputError:
            self._file.close()
            raise

    def _unusable(self, error: Exception) -> InputError:
        return InputError(f"{self.path}: the notes cannot be opened ({error}); name another file with --notes")

    def _prepare(self, atlas: str | None) -> None:
        for setting in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=30000", "trusted_schema=OFF"):
            self._file.execute(f"PRAGMA {setting}")
        with self.transaction() as file:
            others = {row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type='table'")}
            if others and "revisions" not in others:
                raise InputError(f"{self.path}: this is a database of another program; name another file with --notes")
            for statement in SCHEMA.split(";"):
                file.execute(statement)
            version = self._meta("schema", str(SCHEMA_VERSION))
            if version != str(SCHEMA_VERSION):
                raise InputError(f"{self.path}: a newer cellglass wrote it; update with: pip install -U cellglass")
            if atlas is not None and self._meta("atlas", atlas) != atlas:
                raise InputError(
                    f"{self.path}: these are the notes of another atlas, or of this one before its "
                    "dictionary was trained anew; put the file elsewhere, or name another with --notes"
                )

    def _meta(self, key: str, value: str) -> str:
        """Return what is kept under `key`; `value` is kept where nothing is."""
        self._file.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", (key, value))
        return str(self._file.execute("SELECT value FROM meta WHERE key=?", (key,)).fetchone()[0])

    @property
    def atlas(self) -> str | None:
        """Fingerprint of the atlas that the notes are about."""
        with self._lock:
            row = self._file.execute("SELECT value FROM meta WHERE key='atlas'").fetchone()
        return None if row is None else str(row[0])

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Hold the only right to write, in this process and any other; all of the block is kept or nothing."""
        with self._lock:
            self._file.execute("BEGIN IMMEDIATE")
            try:
                yield self._file
                self._file.execute("COMMIT")
            finally:
                if self._file.in_transaction:  # the block failed, or the disk is full; some failures end it already
                    self._file.execute("ROLLBACK")

    def query(self, text: str, values: Iterable[object] = ()) -> list[sqlite3.Row]:
        """Return the rows of a SELECT."""
        with self._lock:
            return self._file.execute(text, tuple(values)).fetchall()

    def write(self, note: Mapping[str, Any], *, by: str = "person") -> dict[str, Any]:
        """Add a revision and return the concept's state.

        Parameters
        ----------
        note : mapping
            ``latent``, ``who``, ``base`` (id of the revision that it was based on; None for the first), and any of
            ``label``, ``text``, ``confidence``, ``tags``, ``status``: the whole content, not a change of it.
        by : {"person", "machine"}
            The server writes for people alone.

        Raises
        ------
        Conflict
            If the present revision is not ``base``.
        """
        latent, content = self._latent(note.get("latent")), rules.check_content(note)
        who, base = rules.check_who(note.get("who")), rules.check_link(note.get("base"), "base")
        with self.transaction():
            head = self.state(latent).get(by)
            if head is not None and base in (head["id"], head["base"]) and not head["others"]:
                same = all(head[name] == content[name] for name in rules.CONTENT)
                if same and head["who"] == who:  # it is there already, such as a write that is sent again
                    return self.state(latent)
            present = self._present(latent, by, base)
            return self._append(present, {"latent": latent, "by": by, "who": who, **content})

    def undo(self, latent: object, who: object, base: object, *, by: str = "person") -> dict[str, Any]:
        """Add a revision that says again what stood before revision `base`; undo after undo goes further back."""
        number, name = self._latent(latent), rules.check_who(who)
        with self.transaction():
            present = self._present(number, by, rules.check_link(base, "base"))
            shown = None if present is None else self._shown(present)
            if present is None or shown is None:
                raise InputError(f"concept {number}: there is nothing to undo")
            before = None if shown["base"] is None else self._shown(self._revision(shown["base"]))
            content = {field: (before or rules.EMPTY)[field] for field in rules.CONTENT}
            links = {"restores": before["id"] if before else None, "undoes": present["id"]}
            return self._append(present, {"latent": number, "by": by, "who": name, **content, **links})

    def state(self, latent: int) -> dict[str, Any]:
        """Return the present state of a concept."""
        return _state(latent, self.history(latent))

    def states(self) -> dict[int, dict[str, Any]]:
        """Return the present state of every concept about which something was written."""
        grouped: dict[int, list[Revision]] = {}
        for row in self.query("SELECT * FROM revisions ORDER BY seq"):
            grouped.setdefault(int(row["latent"]), []).append(_revision(row))
        return {latent: _state(latent, revisions) for latent, revisions in sorted(grouped.items())}

    def history(self, latent: int) -> list[Revision]:
        """Return all revisions about a concept, the oldest first."""
        rows = self.query('SELECT * FROM revisions WHERE latent=? ORDER BY "when", id', (latent,))
        return [_revision(row) for row in rows]

    def revisions(self) -> list[Revision]:
        """Return all revisions about all concepts, the oldest first."""
        return [_revision(row) for row in self.query('SELECT * FROM revisions ORDER BY "when", id')]

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _latent(self, value: object) -> int:
        latent = rules.check_latent(value)
        if self.latents is not None and latent not in self.latents:
            raise InputError(f"latent: the atlas has no concept {latent}")
        return latent

    def _present(self, latent: int, by: str, base: str | None) -> Revision | None:
        if by not in rules.KINDS:
            raise InputError(f"by: it must be one of {', '.join(rules.KINDS)}")
        state = self.state(latent)
        present: Revision | None = state[by]
        if (present["id"] if present else None) != base:
            raise Conflict(state)
        return present

    def _append(self, present: Revision | None, told: dict[str, Any]) -> dict[str, Any]:
        when = rules.now()
        if present is not None and when <= present["when"]:  # a clock that was set back
            when = rules.after(present["when"])
        revision = {"restores": None, "undoes": None, **told, "when": when}
        revision["base"] = present["id"] if present else None
        revision["also"] = [other["id"] for other in present["others"]] if present else []
        revision["id"] = rules.revision_id(revision)
        self.insert(revision)
        return self.state(told["latent"])

    def insert(self, revision: Revision) -> int:
        """Add a revision as it is, inside of a `transaction`; return 1, or 0 where it is there already."""
        content = json.dumps({name: revision[name] for name in rules.CONTENT}, ensure_ascii=False)
        added = self._file.execute(
            'INSERT OR IGNORE INTO revisions (id, latent, "by", who, "when", content, base, also, restores, undoes) '
            "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                *(revision[name] for name in ("id", "latent", "by", "who", "when")),
                content,
                revision["base"],
                json.dumps(revision["also"]),
                revision["restores"],
                revision["undoes"],
            ),
        )
        return added.rowcount

    def _revision(self, key: str) -> Revision | None:
        rows = self.query("SELECT * FROM revisions WHERE id=?", (key,))
        return _revision(rows[0]) if rows else None

    def _shown(self, revision: Revision | None) -> Revision | None:
        """Return the revision whose content `revision` shows: of an undo the one that it went back to, or None."""
        seen: set[str] = set()
        while revision is not None and revision["undoes"] is not None:
            if revision["restores"] is None or revision["id"] in seen:
                return None
            seen.add(revision["id"])
            revision = self._revision(revision["restores"])
        return revision


def _revision(row: sqlite3.Row) -> Revision:
    kept = {name: row[name] for name in ("id", "latent", "by", "who", "when", "base", "restores", "undoes")}
    return {**kept, **json.loads(row["content"]), "also": json.loads(row["also"])}


def _state(latent: int, revisions: list[Revision]) -> dict[str, Any]:
    return {"latent": latent, **{by: _head([r for r in revisions if r["by"] == by]) for by in rules.KINDS}}


def _head(chain: list[Revision]) -> Revision | None:
    """Return the last revision that no other follows, with the ``others`` that no other follows either."""
    followed = {revision["base"] for revision in chain} | {other for revision in chain for other in revision["also"]}
    ends = [revision for revision in chain if revision["id"] not in followed] or chain
    ends = sorted(ends, key=lambda revision: (revision["when"], revision["id"]))
    return {**ends[-1], "others": ends[:-1]} if ends else None

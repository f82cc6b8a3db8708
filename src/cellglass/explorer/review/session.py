"""Blind review: which items a session holds, in which order each rater sees them, and the ratings, kept with the notes.

Items are concepts, neurons and random directions. Each rater sees all of them in an order of their own, drawn from the
session's seed and the rater's name, with some shown twice so that the rater's own agreement can be measured. A rater
may go back one item and rate it anew; all before it stand. Which groups of cells an item has is not shown unless the
session was begun so: it would tell what the item is called. What a rater gets of an item is a code that means nothing;
its kind is told to nobody before the session has ended, but to whoever has the leader's key, of which a hash is kept.
What is shown of an item is made in ``items.py``.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import secrets
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from cellglass.errors import InputError
from cellglass.explorer.notes import rules
from cellglass.explorer.notes.store import Notes
from cellglass.seeds import derive, generator
from cellglass.vocabulary import ITEMS

if TYPE_CHECKING:
    import pandas as pd

KINDS = tuple(ITEMS)
REPEATS = 0.15
MOST_ITEMS, MOST_SECONDS = 600, 86_400.0
GAP = 10
"""Items between the two times that a rater sees the same one, at least, where the session has thirty or more."""
_AGAIN = (
    'UPDATE answers SET rating=?, label=?, comment=?, seconds=seconds+?, "when"=? '
    "WHERE session=? AND rater=? AND position=?"
)


class Item(NamedTuple):
    """One thing to rate."""

    kind: str
    number: int
    """Of the latent in its dictionary."""
    size: int
    """Cells that are shown as active."""


class Place(NamedTuple):
    """Where a rater stands."""

    done: int
    of: int
    code: str | None
    """Of the item to rate next; None after the last."""
    ended: bool
    previous: str | None
    """Code of the item that was rated last, which may be rated anew; None before the first."""


class Begun(NamedTuple):
    """A session that was begun."""

    session: str
    key: str | None
    """What lets its leader end it and read results early; None where the session was there already."""


def draw_items(
    concepts: Mapping[int, int], latents: Mapping[str, int], wanted: Mapping[str, int], seed: int
) -> list[Item]:
    """Draw the items of a session, without replacement.

    A neuron answers in half of all cells and a concept in few, which would give it away. So each neuron and each
    random direction is shown in as many cells as one of the concepts, those in which it answers most strongly.

    Parameters
    ----------
    concepts : mapping of int to int
        Cells in which each concept is shown, by latent number.
    latents : mapping of str to int
        How many latents the dictionaries ``neuron`` and ``random`` have.
    wanted : mapping of str to int
        How many items of each of `KINDS`.
    """
    rng = generator(seed, "review items")
    there = {"concept": len(concepts), **latents}
    for kind in KINDS:
        n = wanted.get(kind, 0)
        if isinstance(n, bool) or not isinstance(n, int) or n < 0:
            raise InputError(f"{kind}: say how many, as a whole number")
        if n > there.get(kind, 0):
            raise InputError(f"{kind}: {n} are asked for and the atlas has {there.get(kind, 0)}; ask for fewer")
    if not 1 <= sum(wanted.get(kind, 0) for kind in KINDS) <= MOST_ITEMS:
        raise InputError(f"a session has at least 1 item and at most {MOST_ITEMS}")
    if not concepts:
        raise InputError("no concept is active in enough cells, so there is nothing to review")
    numbers, sizes = np.array(list(concepts)), np.array(list(concepts.values()))
    chosen = rng.permutation(len(numbers))[: wanted.get("concept", 0)]
    items = [Item("concept", int(numbers[i]), int(sizes[i])) for i in chosen]
    like = sizes[chosen] if len(chosen) else sizes
    for kind in KINDS[1:]:
        which = rng.permutation(there.get(kind, 0))[: wanted.get(kind, 0)]
        items += [Item(kind, int(i), int(size)) for i, size in zip(which, rng.choice(like, len(which)), strict=True)]
    return items


def order_of(n: int, seed: int, rater: str, repeats: float = REPEATS) -> list[int]:
    """Return the items in the order in which `rater` sees them, each repeat at least a gap after the first."""
    rng = generator(seed, "review order", rater)
    gap = min(GAP, n // 3)
    order: list[int] = rng.permutation(n).tolist()
    for item in rng.permutation(order[: n - gap])[: round(repeats * n)].tolist():
        earliest = min(order.index(item) + 1 + gap, len(order))
        order.insert(int(rng.integers(earliest, len(order) + 1)), item)
    return order


class Review:
    """The sessions in a file of notes; any number of threads and raters at once."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def start(self, items: Sequence[Item], seed: int | None = None, repeats: float = REPEATS) -> str:
        """Keep a new session and return its id; the same items and seed are the same session."""
        return self.begin(items, seed, repeats).session

    def begin(
        self, items: Sequence[Item], seed: int | None = None, repeats: float = REPEATS, labels: object = False
    ) -> Begun:
        """Keep a new session and return its id, and its leader's key where it was not there before.

        `labels` says whether raters see which groups of cells an item has.
        """
        if not isinstance(labels, bool):
            raise InputError("labels: it must be true or false")
        if isinstance(repeats, bool) or not isinstance(repeats, int | float) or not 0 <= repeats <= 0.5:
            raise InputError("repeats: it must be a share from 0 to 0.5")
        seed = secrets.randbits(62) if seed is None else seed
        design = json.dumps({"items": items, "repeats": float(repeats), "labels": labels})
        session = hashlib.sha256(f"{self._notes.atlas}/{seed}/{design}".encode()).hexdigest()[:16]
        key = secrets.token_urlsafe(18)
        with self._notes.transaction() as file:
            values = (session, str(seed), design, rules.now())
            new = file.execute("INSERT OR IGNORE INTO sessions VALUES (?, ?, ?, ?, NULL)", values).rowcount
            if new:
                file.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (f"leader {session}", _hashed(key)))
        return Begun(session, key if new else None)

    def leads(self, session: object, key: object) -> bool:
        """Return whether `key` is the leader's key of a session that was begun in this file."""
        kept = self._notes.query("SELECT value FROM meta WHERE key=?", (f"leader {session}",))
        return bool(kept) and isinstance(key, str) and hmac.compare_digest(str(kept[0]["value"]), _hashed(key))

    def sessions(self) -> list[dict[str, Any]]:
        """Return the sessions and how far each rater is; nothing of what the items are."""
        rows = self._notes.query('SELECT id, "when", ended, design FROM sessions ORDER BY "when", id')
        found = []
        for row in rows:
            raters = self._notes.query(
                "SELECT rater, COUNT(*) AS done FROM answers WHERE session=? GROUP BY rater ORDER BY rater",
                (row["id"],),
            )
            design = json.loads(row["design"])
            of = len(design["items"]) + round(design["repeats"] * len(design["items"]))
            done = [{"rater": rater["rater"], "done": rater["done"]} for rater in raters]
            told = {key: row[key] for key in ("id", "when", "ended")}
            found.append({**told, "of": of, "labels": _shows_labels(design), "raters": done})
        return found

    def shows_labels(self, session: str) -> bool:
        """Return whether raters of a session see which groups of cells an item has."""
        self._session(session)
        return _shows_labels(json.loads(self._notes.query("SELECT design FROM sessions WHERE id=?", (session,))[0][0]))

    def items(self, session: str) -> list[Item]:
        """Return the items of a session, for the server alone."""
        return self._session(session)[1]

    def place(self, session: str, rater: object) -> Place:
        """Return where `rater` stands in a session."""
        name = rules.check_who(rater)
        seed, items, repeats, ended = self._session(session)
        of = len(order_of(len(items), seed, name, repeats))
        done = self._done(session, name)
        codes = [_code(seed, name, at) if 0 <= at < of else None for at in (done, done - 1)]
        return Place(done, of, codes[0], ended, codes[1])

    def item(self, session: str, rater: object, code: str) -> Item:
        """Return what a code means, for the server alone."""
        name = rules.check_who(rater)
        seed, items, repeats, _ = self._session(session)
        order = order_of(len(items), seed, name, repeats)
        return items[order[_position(code, seed, name, len(order))]]

    def answer(self, session: str, rater: object, code: str, given: Mapping[str, Any]) -> Place:
        """Keep a rating and return where `rater` stands then; the same rating sent twice is kept once.

        A rating of the item before takes the place of what was given there.

        Parameters
        ----------
        given : mapping
            ``rating`` (1 to 5), ``label``, ``comment``, ``seconds``.

        Raises
        ------
        InputError
            If the session has ended, the code is not that of the next item or the one before, or the rating is none.
        """
        name, rating, seconds = rules.check_who(rater), given.get("rating"), given.get("seconds", 0.0)
        if isinstance(rating, bool) or rating not in (1, 2, 3, 4, 5):
            raise InputError("rating: it must be a whole number from 1 to 5")
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not math.isfinite(seconds):
            raise InputError("seconds: it must be a number")
        label = rules.check_text(given.get("label", ""), "label", rules.LENGTHS["label"])
        comment = rules.check_text(given.get("comment", ""), "comment", rules.LENGTHS["text"])
        told = (int(rating), label, comment)
        with self._notes.transaction() as file:
            seed, items, repeats, ended = self._session(session)
            if ended:
                raise InputError("this session has ended; nothing more is taken")
            position = _position(code, seed, name, len(order_of(len(items), seed, name, repeats)))
            done = self._done(session, name)
            took = min(max(float(seconds), 0.0), MOST_SECONDS)
            if position < done:
                kept = "SELECT rating, label, comment FROM answers WHERE session=? AND rater=? AND position=?"
                if tuple(file.execute(kept, (session, name, position)).fetchone()) != told:
                    if position < done - 1:
                        raise InputError("this item is rated already, and all ratings but the last one stand")
                    file.execute(_AGAIN, (*told, took, rules.now(), session, name, position))
            elif position > done:
                raise InputError("this is not the next item; load the page again")
            else:
                values = (session, name, position, *told, took, rules.now())
                file.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?)", values)
        return self.place(session, name)

    def given(self, session: str, rater: object) -> dict[str, Any] | None:
        """Return ``rating``, ``label`` and ``comment`` of the item that `rater` rated last; None before the first."""
        name = rules.check_who(rater)
        self._session(session)
        last = "SELECT rating, label, comment FROM answers WHERE session=? AND rater=? ORDER BY position DESC LIMIT 1"
        rows = self._notes.query(last, (session, name))
        return dict(rows[0]) if rows else None

    def end(self, session: object) -> None:
        """End a session: no rating is taken any more, and `table` tells what the items are."""
        self._session(session)
        with self._notes.transaction() as file:
            file.execute("UPDATE sessions SET ended=? WHERE id=? AND ended IS NULL", (rules.now(), str(session)))

    def table(self, session: str, *, early: bool = False) -> pd.DataFrame:
        """Return all ratings with what the items were.

        Parameters
        ----------
        early : bool
            Also of a session that has not ended; for whoever leads it, never for the page.

        Returns
        -------
        pandas.DataFrame
            ``rater``, ``position``, ``item`` (such as ``concept 12``), ``kind``, ``number``, ``repeat`` (whether the
            rater saw it before), ``rating``, ``label``, ``comment``, ``seconds``, ``when``.
        """
        import pandas as pd

        seed, items, repeats, ended = self._session(session)
        if not ended and not early:
            raise InputError("this session has not ended; what its items are is told when it has")
        rows, orders = [], dict[str, list[int]]()
        for row in self._notes.query("SELECT * FROM answers WHERE session=? ORDER BY rater, position", (session,)):
            name, position = row["rater"], row["position"]
            order = orders.setdefault(name, order_of(len(items), seed, name, repeats))
            item = items[order[position]]
            told = {field: row[field] for field in ("rating", "label", "comment", "seconds", "when")}
            head = {"rater": name, "position": position, "item": f"{item.kind} {item.number}"}
            again = {"kind": item.kind, "number": item.number, "repeat": order[position] in order[:position]}
            rows.append({**head, **again, **told})
        columns = ["rater", "position", "item", "kind", "number", "repeat"]
        columns += ["rating", "label", "comment", "seconds", "when"]
        return pd.DataFrame(rows, columns=columns)

    def _session(self, session: object) -> tuple[int, list[Item], float, bool]:
        rows = self._notes.query("SELECT seed, design, ended FROM sessions WHERE id=?", (str(session),))
        if not rows:
            raise InputError("there is no such session; load the page again")
        design = json.loads(rows[0]["design"])
        items = [Item(*item) for item in design["items"]]
        return int(rows[0]["seed"]), items, design["repeats"], rows[0]["ended"] is not None

    def _done(self, session: str, rater: str) -> int:
        found = self._notes.query("SELECT COUNT(*) FROM answers WHERE session=? AND rater=?", (session, rater))
        return int(found[0][0])


def _shows_labels(design: Mapping[str, Any]) -> bool:
    """Return whether a session shows labels; those of older versions, which do not say, did."""
    return bool(design.get("labels", True))


def _hashed(key: str) -> str:
    return hashlib.sha256(f"cellglass review {key}".encode()).hexdigest()


def _code(seed: int, rater: str, position: int) -> str:
    return f"{derive(seed, 'review code', rater, position):016x}"


def _position(code: str, seed: int, rater: str, of: int) -> int:
    for position in range(of):
        if _code(seed, rater, position) == code:
            return position
    raise InputError("there is no such item in this session; load the page again")

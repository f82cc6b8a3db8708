"""Keeps the first rows of each group while a table goes by that is larger than memory."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

WAITING = 1 << 21
"""Rows that are gathered before what is not among the first of its group is thrown away."""


class TopK:
    """The first `keep` rows of each group.

    Parameters
    ----------
    group : str
        Name of the column, of numbers, whose equal values are a group.
    order : tuple of str
        Names of the columns by which the rows of a group are ordered, the first one first; smallest values first.
    keep : int
        Rows of a group that are kept.
    """

    def __init__(self, group: str, order: tuple[str, ...], keep: int):
        self.group, self.order, self.keep = group, order, keep
        self._parts: list[dict[str, Array]] = []
        self._waiting = 0

    def add(self, **columns: Array) -> None:
        """Take more rows: columns of one length, each time the same ones."""
        self._parts.append(columns)
        self._waiting += len(columns[self.group])
        if self._waiting > WAITING:
            self._parts = [self.table()]
            self._waiting = 0

    def table(self) -> dict[str, Array]:
        """Return the first rows so far, by group and order; empty columns where none were added."""
        if not self._parts:
            return {name: np.zeros(0, dtype=np.int64) for name in (self.group, *self.order, "key")}
        rows = {name: np.concatenate([part[name] for part in self._parts]) for name in self._parts[0]}
        order = np.lexsort([rows[name] for name in (*reversed(self.order), self.group)])
        group = rows[self.group][order]
        starts = np.flatnonzero(np.r_[True, group[1:] != group[:-1]]) if len(group) else np.zeros(0, dtype=np.int64)
        place = np.arange(len(group)) - np.repeat(starts, np.diff(np.r_[starts, len(group)]))
        return {name: column[order[place < self.keep]] for name, column in rows.items()}

"""A table as plain arrays, of which small parts are taken more quickly than pandas takes them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

Array = np.ndarray[Any, Any]


class Rows:
    """The columns of a table by name; of text the codes, with the ``texts`` that they mean.

    Parameters
    ----------
    table : pandas.DataFrame
        With text as categories, or as objects.
    """

    def __init__(self, table: pd.DataFrame):
        self.columns: dict[str, Array] = {}
        self.texts: dict[str, list[str]] = {}
        self._mapped: dict[str, Array] = {}
        for name in table:
            column = table[name]
            if column.dtype == object:
                column = column.astype("category")
            if isinstance(column.dtype, pd.CategoricalDtype):
                self.texts[str(name)] = [str(value) for value in column.cat.categories]
                self.columns[str(name)] = column.cat.codes.to_numpy().astype(np.int64)
            else:
                self.columns[str(name)] = column.to_numpy()

    def __getitem__(self, name: str) -> Array:
        return self.columns[name]

    def mapped(self, name: str, of: Callable[[list[str]], Array]) -> Array:
        """Return what `of` makes of the texts of a column; it is asked once."""
        if name not in self._mapped:
            self._mapped[name] = of(self.texts[name])
        return self._mapped[name]

    def where(self, name: str, value: int) -> Array:
        """Return the places at which a column has a value."""
        return np.flatnonzero(self.columns[name] == value)

    def text(self, name: str, place: int) -> str:
        """Return the text that a column has at a place; empty where it is missing."""
        code = int(self.columns[name][place])
        return self.texts[name][code] if code >= 0 else ""

    def groups(self, at: Array, *names: str) -> list[tuple[tuple[str, ...], Array]]:
        """Return the texts that some columns have together at the places `at`, each with its places in their order."""
        code = np.zeros(len(at), dtype=np.int64)
        for name in names:
            code = code * (len(self.texts[name]) + 1) + self.columns[name][at]
        _, first, inverse = np.unique(code, return_index=True, return_inverse=True)
        return [
            (tuple(self.text(name, int(at[one])) for name in names), at[inverse == number])
            for number, one in enumerate(first)
        ]

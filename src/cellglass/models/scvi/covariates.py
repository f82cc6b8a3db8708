"""Covariates of a model, such as the batch: from columns of ``obs`` to rows of numbers, with clear errors.

Categories are matched as text, since a column of numbers comes back from a file as text or the other way round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from cellglass.cells.cells import Cells
from cellglass.errors import InputError

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Covariate:
    """A column of ``obs`` and its categories, in the order of the model's one-hot entries."""

    column: str
    categories: tuple[str, ...]

    @classmethod
    def of(cls, cells: Cells, column: str) -> Covariate:
        """Return the covariate with the categories that `cells` have, sorted; InputError where one is missing."""
        values = cells.column(column)
        if values.isna().any():
            raise InputError(
                f"{cells.source}: obs column {column!r} has {int(values.isna().sum())} missing values; "
                "fill them in or remove those cells"
            )
        return cls(column, tuple(sorted({str(value) for value in values.unique()})))

    @property
    def width(self) -> int:
        """Number of one-hot entries: a covariate with one category says nothing and has none."""
        return len(self.categories) if len(self.categories) > 1 else 0

    def codes(self, cells: Cells) -> Array:
        """Return each cell's category, int64 (n_cells,); InputError names a column or category that is not there."""
        if self.column not in cells.obs:
            raise InputError(_absent(self.column, cells))
        values, uniques = pd.factorize(cells.obs[self.column], use_na_sentinel=False)
        known = {category: i for i, category in enumerate(self.categories)}
        table = np.array([known.get(str(value), -1) for value in uniques], dtype=np.int64)
        if (table < 0).any():
            unknown = sorted(str(value) for value, code in zip(uniques, table, strict=True) if code < 0)
            raise InputError(
                f"{cells.source}: obs column {self.column!r} holds {', '.join(map(repr, unknown[:5]))}, which the "
                f"model has not seen; it knows: {', '.join(self.categories)}"
            )
        return table[values]


@dataclass(frozen=True)
class Continuous:
    """A column of ``obs`` with numbers, which the model reads as they are."""

    column: str

    @property
    def width(self) -> int:
        """Number of entries."""
        return 1

    def values(self, cells: Cells) -> Array:
        """Return each cell's number, float64 (n_cells,); InputError where one is missing or is none."""
        if self.column not in cells.obs:
            raise InputError(_absent(self.column, cells))
        found: Array = pd.to_numeric(cells.obs[self.column].astype(object), errors="coerce").to_numpy(dtype=np.float64)
        if not np.isfinite(found).all():
            raise InputError(
                f"{cells.source}: obs column {self.column!r} has {int((~np.isfinite(found)).sum())} values that are no "
                "numbers, and the model reads it as a continuous covariate; fill them in or remove those cells"
            )
        return found


AnyCovariate = Covariate | Continuous


def to_json(covariate: AnyCovariate) -> dict[str, Any]:
    """Return a covariate as cfg.json holds it."""
    if isinstance(covariate, Continuous):
        return {"column": covariate.column, "continuous": True}
    return {"column": covariate.column, "categories": list(covariate.categories)}


def from_json(held: Mapping[str, Any]) -> AnyCovariate:
    """Return the covariate that `to_json` wrote."""
    if held.get("continuous"):
        return Continuous(held["column"])
    return Covariate(held["column"], tuple(held["categories"]))


def _absent(column: str, cells: Cells) -> str:
    return (
        f"{cells.source}: the model was fitted with obs column {column!r}, which is not there; there are: "
        f"{', '.join(map(str, cells.obs)) or 'none'}"
    )


def one_hot(covariates: Sequence[AnyCovariate], cells: Cells, dtype: torch.dtype) -> torch.Tensor:
    """Return all covariates side by side, numbers as they are and categories one-hot, (n_cells, sum of widths)."""
    out = torch.zeros(cells.n_cells, sum(c.width for c in covariates), dtype=dtype)
    rows, start = torch.arange(cells.n_cells), 0
    for covariate in covariates:
        if isinstance(covariate, Continuous):
            out[:, start] = torch.from_numpy(covariate.values(cells)).to(dtype)
            start += 1
        elif covariate.width:
            out[rows, start + torch.from_numpy(covariate.codes(cells))] = 1
            start += covariate.width
    return out

"""Whether a batch is (nearly) a label: a model that is told the batch then takes the label for a batch effect."""

from __future__ import annotations

from typing import Any

import pandas as pd

from cellglass.cells.cells import Cells

INSIDE, OUTSIDE = 0.8, 0.2
"""A batch stands for a value of a label if it holds at least this share of its cells, and at most this of others."""
_FEWEST = 20
_SHOWN = 4


def confounded(cells: Cells, batch: str, label: str) -> str | None:
    """Return what to say where a value of `label` is nearly a batch of its own, with the table; None where none is.

    Said is so of a value with at least 20 cells and 5 % of all, of which one batch holds 80 % or more, while it holds
    20 % or less of all other cells.

    Parameters
    ----------
    cells : Cells
    batch, label : str
        Columns of obs.
    """
    table = pd.crosstab(cells.column(label).astype(str), cells.column(batch).astype(str))
    total, of_batch = int(table.to_numpy().sum()), table.sum(axis=0)
    found = []
    for value, row in table.iterrows():
        n = int(row.sum())
        if n < max(_FEWEST, 0.05 * total) or n == total:
            continue
        most = row.idxmax()
        inside, outside = row[most] / n, (of_batch[most] - row[most]) / (total - n)
        if inside >= INSIDE and outside <= OUTSIDE:
            found.append(f"{most} holds {inside:.0%} of {value} and {outside:.0%} of all others")
    if not found:
        return None
    return (
        f"{cells.source}: batch {batch!r} nearly is the label {label!r} ({'; '.join(found[:_SHOWN])}), so the model "
        f"will take what tells {label} for a batch effect; leave --batch out, or name one that does not go with it. "
        f"Cells by {label}: {_rows(table)}"
    )


def _rows(table: pd.DataFrame) -> str:
    """Return the table in one line, each value with its largest batches."""
    lines = []
    for value, row in table.iloc[: 2 * _SHOWN].iterrows():
        first: Any = row[row > 0].sort_values(ascending=False, kind="stable")
        more = f", {len(first) - _SHOWN} more" if len(first) > _SHOWN else ""
        lines.append(f"{value}: {', '.join(f'{name} {n:,}' for name, n in first.iloc[:_SHOWN].items())}{more}")
    return "; ".join(lines) + ("; ..." if len(table) > 2 * _SHOWN else "")

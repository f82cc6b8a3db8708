"""Columns of numbers as bytes for the page.

A column file is little endian: uint32 n, then n uint32 positions of cells, ascending, then n float32 values.
"""

from __future__ import annotations

import numpy as np

from cellglass.atlas.columns import Column
from cellglass.errors import InputError


def to_bytes(column: Column) -> bytes:
    """Return a column as a column file."""
    count = np.array([len(column.rows)], dtype="<u4")
    return count.tobytes() + column.rows.astype("<u4").tobytes() + column.values.astype("<f4").tobytes()


def from_bytes(content: bytes) -> Column:
    """Return the column that a column file holds."""
    count = int(np.frombuffer(content, dtype="<u4", count=1)[0])
    if len(content) != 4 + 8 * count:
        raise InputError(f"a column of {count} entries has {4 + 8 * count} bytes, but these are {len(content)}")
    rows = np.frombuffer(content, dtype="<u4", count=count, offset=4)
    return Column(rows, np.frombuffer(content, dtype="<f4", count=count, offset=4 + 4 * count))

"""What tells the cells of one atlas from any other's: a digest of their names, in order.

A selection is kept as positions, which mean nothing for other cells or another order.
"""

from __future__ import annotations

import hashlib

from cellglass.explorer.data.json import dumps
from cellglass.explorer.data.source import Source


def cells_id(source: Source) -> str:
    """Return the digest, 32 hexadecimal digits."""
    digest = hashlib.sha256(f"cellglass cells {source.n_cells}\n".encode())
    for first in range(0, source.n_cells, 1 << 16):
        names = source.cell_names(first, min(first + (1 << 16), source.n_cells))
        digest.update("".join(f"{name}\0" for name in names).encode())
    return digest.hexdigest()[:32]


def file(source: Source) -> bytes:
    """Return ``cells-id.json``: the digest, and how many cells there are."""
    return dumps({"cells": cells_id(source), "n": source.n_cells})

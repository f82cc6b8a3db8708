"""A selection as bytes: one bit a cell, little end first, compressed with zlib; and as text, in base64.

The page packs and unpacks the same (``lib/bits.ts``).
"""

from __future__ import annotations

import base64
import binascii
import zlib
from typing import Any

import numpy as np

from cellglass.errors import InputError

Array = np.ndarray[Any, Any]


def pack(rows: Array, n: int) -> bytes:
    """Return the cells at positions `rows` of `n` cells as bytes."""
    mask = np.zeros(n, dtype=bool)
    mask[rows] = True
    return zlib.compress(np.packbits(mask, bitorder="little").tobytes(), 6)


def unpack(packed: bytes, n: int) -> Array:
    """Return the positions, int64 ascending, that `pack` packed; InputError where the bytes are not of `n` cells."""
    size = -(-n // 8)
    reader = zlib.decompressobj()
    try:
        raw = reader.decompress(packed, size + 1)  # whatever it claims to be, no more than that is unpacked
    except zlib.error:
        raise InputError("bits: they are damaged; make the selection again") from None
    if len(raw) != size or not reader.eof or reader.unused_data:
        raise InputError(f"bits: they are not of the {n:,} cells of this atlas; select in the page of this atlas")
    mask = np.unpackbits(np.frombuffer(raw, dtype=np.uint8), bitorder="little")
    if mask[n:].any():
        raise InputError(f"bits: they name cells beyond the {n:,} of this atlas; select in the page of this atlas")
    return np.flatnonzero(mask)


def to_text(packed: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(packed).decode("ascii")


def from_text(text: object) -> bytes:
    """Return the bytes of base64, or raise InputError."""
    try:
        if not isinstance(text, str):
            raise ValueError
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise InputError("bits: they must be base64") from None

"""Makes numbers small enough for one HTML file: arrays as base64 of little-endian integers, floats of few digits."""

from __future__ import annotations

import base64
import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def pack(values: Array) -> dict[str, Any]:
    """Return unsigned integers as base64 with the smallest of 1, 2 or 4 bytes that holds the largest."""
    top = int(values.max()) if values.size else 0
    size = 1 if top < 1 << 8 else 2 if top < 1 << 16 else 4
    data = np.ascontiguousarray(values, dtype=f"<u{size}").tobytes()
    return {"bytes": size, "data": base64.b64encode(data).decode("ascii")}


def quantise_layout(xy: Array) -> tuple[Array, Array]:
    """Return x and y as integers 0..65535, each centred, with one scale for both, so that shapes keep proportions."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    span = float((high - low).max()) or 1.0
    unit = (xy - (low + high) / 2) / span + 0.5
    whole = np.clip(np.rint(unit * 65535), 0, 65535).astype(np.uint16)
    return whole[:, 0], whole[:, 1]


def quantise_activations(values: Array, top: float) -> Array:
    """Return activations in (0, top] as 1..255; what is active never becomes 0."""
    if top <= 0:
        return np.zeros(len(values), dtype=np.uint8)
    return np.clip(np.rint(values / top * 255), 1, 255).astype(np.uint8)


def short(value: Any, digits: int = 4) -> float | int | None:
    """Return a number with `digits` significant digits, or None for what is missing or not finite."""
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        return None
    if number == int(number) and abs(number) < 1e15:
        return int(number)
    return float(f"{number:.{digits}g}")

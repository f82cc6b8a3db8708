"""How values become JSON: few digits, null for what is not a number, and the same bytes for the same values."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

_EXACT = 22
"""Powers of ten up to this one are exact in float64."""


def dumps(value: Any) -> bytes:
    """Return plain values as JSON, UTF-8, without spaces."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", "replace")


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


def shorts(values: Any, digits: int = 4) -> list[float | int | None]:
    """Return numbers with `digits` significant digits, None for what is missing or not finite; as `short`, but many."""
    x = np.asarray(values, dtype=np.float64)
    usable = np.isfinite(x) & (np.abs(x) > 10.0 ** (digits - _EXACT)) & (np.abs(x) < 10.0**_EXACT)
    size = np.where(usable, x, 1.0)
    power = digits - 1 - np.floor(np.log10(np.abs(size))).astype(np.int64)
    scale, up = 10.0 ** np.abs(power), power >= 0
    whole = np.where(usable, np.rint(np.where(up, size * scale, size / scale)), 0.0)
    rounded = np.where(up, whole / scale, whole * scale)
    found: list[float | int | None] = [
        int(one) if one.is_integer() and abs(one) < 1e15 else one for one in rounded.tolist()
    ]
    for place in np.flatnonzero(~usable & (x != 0)):
        found[place] = short(x[place], digits)
    return found

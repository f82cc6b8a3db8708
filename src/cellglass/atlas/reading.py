"""How a part of an atlas is read that may be damaged: whatever a library raises becomes one line with the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cellglass.errors import DamagedError, InputError, one_line

AGAIN = "run the same command again; it goes on"
T = TypeVar("T")


def reading(place: Path, read: Callable[[], T]) -> T:
    """Return what `read` returns; whatever a damaged file makes a library raise becomes a DamagedError."""
    try:
        return read()
    except (InputError, MemoryError):
        raise
    except Exception as error:  # the libraries raise dozens of kinds for a damaged file
        reason = f"{type(error).__name__}: {one_line(error, 120)}"
        raise DamagedError(f"{place}: it cannot be read ({reason}); delete it and {AGAIN}") from error

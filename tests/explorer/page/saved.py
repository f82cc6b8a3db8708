"""A table as its reader gets it: saved as CSV by a button, and read again."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any


def read_csv(page: Any, press: Callable[[], None], folder: Path) -> list[dict[str, str]]:
    """Press what saves a table, and return its rows."""
    with page.expect_download() as got:
        press()
    path = folder / got.value.suggested_filename
    got.value.save_as(path)
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))

"""What a reader saves by a button: a file, and a table as CSV, read again."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any


def saved(page: Any, button: str, folder: Path) -> Path:
    """Press the button of a name, and return the file that it saves."""
    return _got(page, lambda: page.get_by_role("button", name=button, exact=True).click(), folder)


def read_csv(page: Any, press: Callable[[], None], folder: Path) -> list[dict[str, str]]:
    """Press what saves a table, and return its rows."""
    with _got(page, press, folder).open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def _got(page: Any, press: Callable[[], None], folder: Path) -> Path:
    with page.expect_download() as got:
        press()
    path = folder / got.value.suggested_filename
    got.value.save_as(path)
    return path

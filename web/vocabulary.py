"""Writes ``src/lib/vocabulary.gen.ts``, the words that the page shares with Python, from ``cellglass/vocabulary.py``.

The build of the package does it before it builds the page, and ``make lint`` before it checks the types. By hand:

    python web/vocabulary.py

Python's file is run by its path, since it imports nothing and the package need not be installed.
"""

from __future__ import annotations

import json
import runpy
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TYPES = {
    "TITLES": "Record<string, string>",
    "BRIEFS": "Record<string, string>",
    "SAYS": "Record<string, string>",
    "SIGNIFICANT": "number",
    "FOLLOWS_DEPTH": "number",
    "BASES": "string[]",
    "STATUSES": "string[]",
    "CONFIDENCES": "string[]",
    "ITEMS": "Record<string, [string, string]>",
}
"""What the page uses, and of what type it is there."""


def typescript(words: dict[str, Any]) -> str:
    """Return the module that holds `words`."""
    head = "// Made from src/cellglass/vocabulary.py by web/vocabulary.py: change it there.\n"
    lines = [
        f"export const {name}: {kind} = {json.dumps(words[name], ensure_ascii=False, indent=2)};\n"
        for name, kind in TYPES.items()
    ]
    return "\n".join([head, *lines])


def write(root: Path = ROOT) -> Path:
    """Write the module where it is not as it should be, so that a page that is newer than it is not built again."""
    target = root / "web" / "src" / "lib" / "vocabulary.gen.ts"
    text = typescript(runpy.run_path(str(root / "src" / "cellglass" / "vocabulary.py")))
    if not target.is_file() or target.read_text(encoding="utf-8") != text:
        target.write_text(text, encoding="utf-8")
    return target


if __name__ == "__main__":
    write()

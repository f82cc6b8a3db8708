"""Puts data, style and program into one HTML file. Nothing in it is fetched, and data can never become markup.

The data lies in a ``<script type="application/json">`` whose ``<``, ``>`` and ``&`` are escaped; the program writes it
to the page only as text. A content security policy allows this style and program, by their hashes, and nothing else.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib.resources import files
from pathlib import Path
from typing import Any

from cellglass.atlas.read import Atlas
from cellglass.atlas.report.collect import collect
from cellglass.errors import InputError
from cellglass.files import atomic_path
from cellglass.progress import Progress, silent

PROGRAM = ("dom", "data", "colour", "scatter", "charts", "overview", "cells", "genes", "card", "concepts", "main")
"""Modules of the page's program, in the order in which they are joined."""


def write_report(atlas: Atlas, out: Path | str, *, max_cells: int = 20_000, progress: Progress = silent) -> Path:
    """Write the atlas as one HTML file that opens offline, and return its path.

    Parameters
    ----------
    atlas : Atlas
    out : path
        The file to write; a folder gets ``report.html``.
    max_cells : int
        Cells that the maps draw at most; of more, a random sample is drawn, and the page says so.

    Raises
    ------
    InputError
        If `max_cells` is not positive or the atlas is damaged.
    """
    if max_cells < 1:
        raise InputError(f"max_cells is {max_cells}; the report must draw at least one cell")
    target = Path(out)
    if target.is_dir():
        target = target / "report.html"
    data = collect(atlas, max_cells, progress)
    with atomic_path(target) as temporary:
        temporary.write_text(render(data), encoding="utf-8")
    return target


def render(data: dict[str, Any]) -> str:
    """Return the page for collected data."""
    style = _asset("report.css")
    modules = "\n".join(_asset(f"{name}.js") for name in PROGRAM)
    program = f'(() => {{\n"use strict";\n{modules}\n}})();\n'
    policy = (
        "default-src 'none'; "
        f"style-src '{_hash(style)}'; script-src '{_hash(program)}'; base-uri 'none'; form-action 'none'"
    )
    parts = {
        "POLICY": html.escape(policy, quote=False),
        "TITLE": html.escape(f"cellglass atlas: {data['atlas']['concepts']} concepts of {data['atlas']['model']}"),
        "STYLE": style,
        "PROGRAM": program,
        "DATA": escape_json(data),
    }
    page = []
    for piece in _asset("report.html").split("%%"):
        page.append(parts.get(piece, piece))
    return "".join(page)


def escape_json(data: Any) -> str:
    """Return JSON in which no byte can end the script element or begin markup."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    escapes = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
    for sign, escaped in escapes.items():
        text = text.replace(sign, escaped)
    return text


def _asset(name: str) -> str:
    return (files("cellglass.atlas.report") / "assets" / name).read_text(encoding="utf-8").strip() + "\n"


def _hash(text: str) -> str:
    # The browser hashes what stands between the tags, so the template puts nothing else there.
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")

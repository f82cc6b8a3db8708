"""Writes the explorer as one HTML file that opens offline: the built page, with what it reads inside it.

The page is that of `cellglass explore`: its script and style stand in the file, and each file of the tree is a line
``path base64`` of an element that is no script. A content security policy lets this script and this style run, by their
hashes, and forbids everything else; names of the atlas are nowhere but in base64, so none can become markup.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

from cellglass.errors import InputError
from cellglass.explorer.app import PAGE
from cellglass.explorer.export import NOTES
from cellglass.explorer.http.answers import page_files
from cellglass.explorer.notes.exchange import notes_file
from cellglass.explorer.notes.place import fingerprint
from cellglass.files import atomic_path
from cellglass.progress import Progress, silent

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas
    from cellglass.explorer.notes.store import Notes

MAX_CELLS = 20_000
_SCRIPT = re.compile(r'<script type="module"[^>]* src="\./([^"]+)"></script>')
_STYLE = re.compile(r'<link rel="stylesheet"[^>]* href="\./([^"]+)">')
_POLICY = re.compile(r'(?<=http-equiv="Content-Security-Policy" content=")[^"]*')


def write_report(
    atlas: Atlas,
    out: Path | str,
    *,
    max_cells: int = MAX_CELLS,
    notes: Notes | None = None,
    page_folder: Path | str = PAGE,
    progress: Progress = silent,
) -> Path:
    """Write the atlas as one HTML file that opens offline, and return its path.

    Parameters
    ----------
    atlas : Atlas
    out : path
        The file to write; a folder gets ``report.html``.
    max_cells : int
        Cells that the maps draw at most; of more, a random sample is drawn, and the page says so.
    notes : Notes, optional
        What is shown as notes.
    page_folder
        The page as Vite built it.
    progress : Progress
        Told how many files are in it.

    Raises
    ------
    InputError
        If `max_cells` is not positive, the page is not built or the atlas is damaged.

    Notes
    -----
    The file is bounded (`cellglass.explorer.data.excerpt`): about 40 MB for the largest atlas. The same atlas gives the
    same file.
    """
    from cellglass.explorer.data.excerpt import Excerpt
    from cellglass.explorer.data.parts import pack
    from cellglass.explorer.data.tree import Tree

    if max_cells < 1:
        raise InputError(f"max_cells is {max_cells}; the report must draw at least one cell")
    target = Path(out)
    if target.is_dir():
        target = target / "report.html"
    tree = Tree(atlas)
    before, after = frame(json.loads(tree.get("data/manifest.json"))["title"], page_folder)
    total = sum(1 for _ in tree.paths()) + 3  # the cells that are drawn, the notes, and all of it
    with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        file.write(before)
        file.write(f"{NOTES} {pack(notes_file(notes, fingerprint(atlas)))}\n")
        for done, (path, content) in enumerate(Excerpt(tree, max_cells).files(), 1):
            file.write(f"{path} {content}\n")
            progress("report", done, total)
        file.write(after)
    progress("report", total, total)
    return target


def frame(title: str, page_folder: Path | str = PAGE) -> tuple[str, str]:
    """Return what stands in the report before the lines of files, and after them.

    Raises
    ------
    InputError
        If the page is not built, or is not one script and one style.
    """
    page = page_files(page_folder)
    index = page["index.html"].read_text(encoding="utf-8")
    script, style = _SCRIPT.findall(index), _STYLE.findall(index)
    if sorted([*script, *style]) != sorted(name for name in page if name.endswith((".js", ".css"))):
        raise InputError(f"{page_folder}: the page is not one script and one style; build web/ again")
    # What could end its element is written otherwise: JavaScript and CSS read it as the same.
    program = re.sub("<(?=/?script)", r"\\x3c", page[script[0]].read_text(encoding="utf-8"), flags=re.IGNORECASE)
    look = page[style[0]].read_text(encoding="utf-8").replace("</", r"<\/")
    icon = base64.b64encode(page["favicon.svg"].read_bytes()).decode("ascii")
    policy = (
        f"default-src 'none'; script-src '{_hash(program)}'; style-src '{_hash(look)}'; img-src data:; "
        "connect-src 'none'; worker-src 'none'; base-uri 'none'; form-action 'none'"
    )
    index = _SCRIPT.sub("", index)
    index = _POLICY.sub(policy, index)
    index = _STYLE.sub(lambda _: f"<style>{look}</style>", index)
    index = index.replace("<title>cellglass</title>", f"<title>{html.escape(title)}</title>")
    index = index.replace("./favicon.svg", f"data:image/svg+xml;base64,{icon}")
    before, after = index.split("</body>")
    return (
        f'{before}<script type="text/plain" id="files">\n',
        f'</script>\n    <script type="module">{program}</script>\n  </body>{after}',
    )


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")

"""Writes the explorer as a folder for any static host: the page and every file of the tree, whole or not at all.

Everything goes into a folder beside the target, which takes the target's place when it is complete. A list of what was
written lies in the folder, so that an earlier export is replaced and a folder with anything else in it is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from cellglass.errors import InputError
from cellglass.explorer.app import PAGE
from cellglass.explorer.http.answers import is_tree_path, page_files
from cellglass.explorer.notes.exchange import notes_file
from cellglass.explorer.notes.place import fingerprint
from cellglass.files import atomic_path, read_json
from cellglass.progress import Progress, silent

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas
    from cellglass.explorer.notes.store import Notes

LIST = "cellglass-export.json"
NOTES = "data/notes.json"


def export(
    atlas: Atlas,
    out: Path | str,
    *,
    notes: Notes | None = None,
    page_folder: Path | str = PAGE,
    progress: Progress = silent,
) -> Path:
    """Write page and tree of `atlas` to the folder `out` and return it.

    Parameters
    ----------
    notes : Notes, optional
        What is shown as notes; ratings of reviews stay behind.
    page_folder
        The page as Vite built it.
    progress : Progress
        Told how many files are written.

    Raises
    ------
    InputError
        If `out` is a file, lies in the atlas or around it, or holds anything that no export wrote.
    """
    from cellglass.explorer.data.tree import Tree

    out, tree = Path(out), Tree(atlas)
    _check_target(out, atlas.path)
    page = page_files(page_folder)
    paths = list(tree.paths())
    strange = [path for path in paths if not is_tree_path(path)]
    if strange:
        raise InputError(f"{atlas.path}: the tree has a file {strange[0]!r}, which no web server could serve")
    total = len(page) + len(paths) + 1
    with atomic_path(out) as folder:
        for done, (name, place) in enumerate(page.items(), 1):
            _write(folder / name, place.read_bytes())
            progress("export", done, total)
        for done, path in enumerate(paths, len(page) + 1):
            _write(folder / path, tree.get(path))
            progress("export", done, total)
        _write(folder / NOTES, notes_file(notes, fingerprint(atlas)))
        names = sorted([*page, *paths, NOTES, LIST])
        _write(folder / LIST, json.dumps({"format": "cellglass.export", "schema": 1, "files": names}).encode())
        progress("export", total, total)
    return out


def _check_target(out: Path, atlas: Path) -> None:
    there, inside = out.resolve(), atlas.resolve()
    if there.is_relative_to(inside) or inside.is_relative_to(there):
        raise InputError(f"{out}: it lies in the atlas or around it, which is never written; name another folder")
    if not out.exists():
        return
    if not out.is_dir() or out.is_symlink():
        raise InputError(f"{out}: there is something that is no folder; name another folder")
    try:
        ours = set(read_json(out / LIST, way_out="")["files"])
    except (InputError, KeyError, TypeError):
        ours = set()
    for place in sorted(out.rglob("*")):
        name = place.relative_to(out).as_posix()
        if (place.is_symlink() or not place.is_dir()) and name not in ours:
            raise InputError(f"{out}: it holds {name}, which no export wrote; name an empty folder, or a new one")


def _write(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)

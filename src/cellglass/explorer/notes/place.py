"""Where the notes of an atlas lie: in its ``annotations.sqlite``, or in a file that the user names.

That file is the one thing in an atlas that the explorer writes, so that notes go where the atlas goes. An atlas in a
folder that cannot be written has its notes in the user's data folder.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from cellglass.atlas import schema
from cellglass.atlas.manifest import outputs_of
from cellglass.errors import InputError

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas
    from cellglass.explorer.notes.store import Notes


def fingerprint(atlas: Atlas) -> str:
    """Return what tells this atlas's concepts from any other's.

    It is of the dictionaries where they are there and else of the concepts, so that new gene sets or a new report
    leave the notes where they are.
    """
    outputs = outputs_of(atlas.manifest)
    told = outputs.get(schema.DICTIONARIES) or outputs.get(schema.CONCEPTS) or json.dumps(outputs, sort_keys=True)
    return hashlib.sha256(f"cellglass notes {told}".encode()).hexdigest()[:32]


def notes_path(atlas: Atlas, path: Path | str | None = None) -> Path:
    """Return the file of an atlas's notes.

    Parameters
    ----------
    path
        What the user names; None means ``annotations.sqlite`` in the atlas, or, where neither it nor the atlas's folder
        can be written, a file in the user's data folder that is named after the fingerprint.

    Raises
    ------
    InputError
        If `path` is a folder, or another file of the atlas.
    """
    own = atlas.path / schema.ANNOTATIONS
    if path is None:
        if os.access(own if own.exists() else atlas.path, os.W_OK) and os.access(atlas.path, os.W_OK):
            return own
        import platformdirs

        return Path(platformdirs.user_data_dir("cellglass", appauthor=False)) / "notes" / f"{fingerprint(atlas)}.sqlite"
    chosen = Path(path)
    if chosen.is_dir():
        raise InputError(f"{chosen}: this is a folder; name a file for the notes, such as notes.sqlite")
    if chosen.resolve() != own.resolve() and chosen.resolve().is_relative_to(atlas.path.resolve()):
        raise InputError(
            f"{chosen}: it lies in the atlas, where only {schema.ANNOTATIONS} is written; name another file"
        )
    return chosen


def open_notes(atlas: Atlas, path: Path | str | None = None, *, make: bool = True) -> Notes:
    """Open the notes of an atlas; see `notes_path`.

    Parameters
    ----------
    make
        Whether a file is made where there is none.

    Raises
    ------
    InputError
        If the file cannot be opened, or holds the notes of another atlas: one whose dictionary was trained anew has
        other concepts.
    """
    from cellglass.explorer.notes.store import Notes

    place = notes_path(atlas, path)
    if not make and not place.exists():
        raise InputError(f"{place}: there are no notes yet; write some with: cellglass explore {atlas.path}")
    return Notes(place, fingerprint(atlas), map(int, atlas.latents))


@contextmanager
def shown_notes(atlas: Atlas, path: Path | str | None = None, *, wanted: bool = True) -> Iterator[Notes | None]:
    """Yield the notes that an export or a report shows: those at `path`, or the atlas's own; None where it has none.

    Raises
    ------
    InputError
        As `open_notes`, and if `path` is named but not there.
    """
    if not wanted or (path is None and not notes_path(atlas).exists()):
        yield None
        return
    with open_notes(atlas, path, make=False) as kept:
        yield kept

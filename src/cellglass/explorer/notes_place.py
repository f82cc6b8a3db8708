"""Where the notes of an atlas lie: in a file that the user names, or in the user's data folder, never in the atlas."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from cellglass.atlas import schema
from cellglass.errors import InputError

if TYPE_CHECKING:
    from cellglass.atlas.read import Atlas
    from cellglass.explorer.notes import Notes


def fingerprint(atlas: Atlas) -> str:
    """Return what tells this atlas's concepts from any other's.

    It is of the dictionaries where they are there and else of the concepts, so that new gene sets or a new report
    leave the notes where they are.
    """
    outputs = schema.outputs_of(atlas.manifest)
    told = outputs.get(schema.DICTIONARIES) or outputs.get(schema.CONCEPTS) or json.dumps(outputs, sort_keys=True)
    return hashlib.sha256(f"cellglass notes {told}".encode()).hexdigest()[:32]


def notes_path(atlas: Atlas, path: Path | str | None = None) -> Path:
    """Return the file of an atlas's notes: `path`, or one in the user's data folder named after the fingerprint.

    Raises
    ------
    InputError
        If `path` lies in the atlas, which is never written.
    """
    if path is None:
        import platformdirs

        return Path(platformdirs.user_data_dir("cellglass", appauthor=False)) / "notes" / f"{fingerprint(atlas)}.sqlite"
    chosen = Path(path)
    if chosen.is_dir():
        raise InputError(f"{chosen}: this is a folder; name a file for the notes, such as notes.sqlite")
    if chosen.resolve().is_relative_to(atlas.path.resolve()):
        raise InputError(f"{chosen}: it lies in the atlas, which is never written; name a file beside it")
    return chosen


def open_notes(atlas: Atlas, path: Path | str | None = None) -> Notes:
    """Open the notes of an atlas; see `notes_path`."""
    from cellglass.explorer.marks_blocks import latents_of
    from cellglass.explorer.notes import Notes

    latents = latents_of(atlas.path / schema.CONCEPTS)
    return Notes(notes_path(atlas, path), fingerprint(atlas), map(int, latents))

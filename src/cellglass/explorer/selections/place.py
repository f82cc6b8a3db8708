"""The selections of an atlas, opened: beside its notes, and checked against its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cellglass.explorer.data.cells_id import cells_id
from cellglass.explorer.selections.store import Selections

if TYPE_CHECKING:
    from cellglass.explorer.data.source import Source
    from cellglass.explorer.notes.store import Notes


def selections_of(notes: Notes, source: Source) -> Selections:
    """Return the selections that the file of `notes` holds of the cells of an atlas."""
    return Selections(notes, cells_id(source), source.n_cells)

"""What a backend is: it does all units that it is given, in any order, and says how many are done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from cellglass.pipeline.stage import Unit
from cellglass.progress import Progress


class Backend(Protocol):
    """Does units of work."""

    def run(self, units: Sequence[Unit], progress: Progress) -> None:
        """Do all `units` of one stage; return when they are done, or raise what the first to fail has raised.

        Parameters
        ----------
        units
            They may be pickled, unless ``unit.stage.in_memory()``.
        progress
            Told the stage's name, how many units are done and how many there are.
        """

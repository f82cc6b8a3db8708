"""Does units one after the other in this process. They share what their stage has opened."""

from __future__ import annotations

from collections.abc import Sequence

from cellglass.pipeline.stage import Unit
from cellglass.progress import Progress


class Local:
    """The backend that is this process."""

    def run(self, units: Sequence[Unit], progress: Progress) -> None:
        """Do all `units`, in their order."""
        for done, unit in enumerate(units):
            progress(unit.stage.name, done, len(units))
            unit()
        if units:
            progress(units[0].stage.name, len(units), len(units))

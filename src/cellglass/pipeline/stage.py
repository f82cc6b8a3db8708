"""What a stage is: its units of work, each one folder on disk, and how they become the stage's outputs.

    units()            names of the pieces of work, which depend on nothing but what lies on disk
    do(name, folder)   do one of them, into a new folder; in any order, in any process
    join(made)         make the outputs of the folders of all units

A stage whose units make the outputs as they are (in folders, under their own names) needs no `join`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from cellglass.files import atomic_path, link_or_copy
from cellglass.pipeline.run import Run


class Stage(ABC):
    """One step on the way to an atlas.

    Parameters
    ----------
    run : Run

    Attributes
    ----------
    name : str
        As in the manifest.
    does : str
        What a person is told.
    outputs : tuple of str
        Paths inside the atlas that it makes, each a file or a folder.
    needs : tuple of str
        Stages whose outputs it reads.
    optional : tuple of str
        Paths that it makes for some inputs only; what an earlier run left of them is removed before it runs.
    revision : int
        Counted up when the code of the stage gives another result than before.
    quick : bool
        What it makes is made again in seconds, so it need not be kept if wrong input is found next.
    """

    name: ClassVar[str]
    does: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]] = ()
    optional: ClassVar[tuple[str, ...]] = ()
    revision: ClassVar[int] = 1
    quick: ClassVar[bool] = False

    def __init__(self, run: Run) -> None:
        self.run = run

    def settings(self) -> Any:
        """Return everything that the result depends on beside what it reads, as JSON can hold it."""
        return None

    def in_memory(self) -> bool:
        """Say whether it reads what the caller holds in memory, so that no other process can do its units."""
        return False

    def units(self) -> Sequence[str]:
        """Return the names of the units."""
        return [self.name]

    @abstractmethod
    def do(self, name: str, folder: Path) -> None:
        """Do the unit called `name`; `folder` is new and empty, and is kept whole or not at all."""

    def join(self, made: Mapping[str, Path]) -> None:
        """Make the outputs of the folders of all units; those folders stay as they are until the stage is done."""
        for output in (*self.outputs, *self.optional):
            for folder in made.values():
                place = folder / Path(output).name
                if place.exists():
                    link_or_copy(place, self.run.path(output))

    def __reduce__(self) -> tuple[Any, tuple[type[Stage], Run]]:
        return _stage, (type(self), self.run)


_opened: dict[Any, Stage] = {}


def _stage(kind: type[Stage], run: Run) -> Stage:
    """Return the stage of a run in this process: units that come one after the other share what it has opened."""
    key = (kind, run.folder, run.fingerprints.get(kind.name))
    if key not in _opened:
        _opened.clear()
        _opened[key] = kind(run)
    return _opened[key]


@dataclass(frozen=True)
class Unit:
    """One piece of a stage's work; may be pickled and called in another process that sees the same files.

    Attributes
    ----------
    stage : Stage
    name : str
    folder : Path
        Where it leaves what it makes. One that is there already is done.
    """

    stage: Stage
    name: str
    folder: Path

    def __call__(self) -> None:
        """Do it, unless it is done; a kill leaves nothing half done."""
        if self.folder.exists():
            return
        with atomic_path(self.folder) as temporary:
            temporary.mkdir()
            self.stage.do(self.name, temporary)

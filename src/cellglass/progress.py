"""How long work tells how far it is, without knowing who listens.

A function that takes long accepts ``progress: Progress = silent`` and calls it with what it does and how far it is.
The command line draws a bar; a notebook may pass its own; the library itself prints nothing.
"""

from typing import Protocol


class Progress(Protocol):
    """A listener: ``progress("scVI epochs", 12, 100)``."""

    def __call__(self, what: str, done: int, total: int) -> None:
        """Hear that `done` of `total` units of `what` are finished."""


def silent(what: str, done: int, total: int) -> None:
    """Listen to nothing."""

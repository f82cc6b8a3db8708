"""Dictionaries that are trained for a moment: for what is looked at here, as good as any."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

STEPS = 200
"""In place of the 800 that a dictionary is trained for at least, if nobody says otherwise."""


@contextmanager
def few_steps(steps: int = STEPS) -> Iterator[None]:
    """Train for so many steps where no configuration of training is given."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cellglass.dictionaries.training.defaults._STEPS", steps)
        yield

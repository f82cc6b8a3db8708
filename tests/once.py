"""What takes long to make is made once in a session, by the worker that asks first, and lies on disk for all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Return the file or folder of this name, that `make` has written to the path it is given.

    It is the same path in all workers, so that what is written may hold it. Nobody may change what lies there: a test
    that writes copies first. What a worker was killed over is made anew.
    """
    own = factory.getbasetemp()
    session = own.parent if "PYTEST_XDIST_WORKER" in os.environ else own
    room = session / "once" / name
    room.mkdir(parents=True, exist_ok=True)
    made, done = room / "made", room / "done"
    with FileLock(room / "lock"):
        if not done.exists():
            shutil.rmtree(made, ignore_errors=True)
            make(made)
            done.touch()
    return made

"""One computation at a time, in a thread: begun, looked at, stopped. Knows nothing of models or of who asks.

Of the last one its state is held until the next begins. One that nobody looks at any more ends by itself, so that a
page that was closed does not keep others waiting.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from cellglass.errors import InputError
from cellglass.explorer.trying.answers import Step

log = logging.getLogger(__name__)
PATIENCE = 300.0
"""Seconds after which a computation ends that nobody asks for; a browser lets a hidden page ask once a minute."""


class BusyError(Exception):
    """Another computation runs."""

    def __init__(self) -> None:
        super().__init__("another change is being tried; wait until it is done, and try again")


class Work:
    """The computation that runs, or ran last.

    Parameters
    ----------
    patience : float
        Seconds after which one ends that nobody looks at.
    """

    def __init__(self, patience: float = PATIENCE) -> None:
        self.patience = patience
        self._lock = threading.Lock()
        self._id = ""
        self._state: dict[str, Any] = {}
        self._stop = threading.Event()
        self._seen = 0.0

    def begin(self, make: Callable[[], Iterator[Step]]) -> str:
        """Begin what `make` yields, and return a name for it; BusyError while another runs."""
        with self._lock:
            if self._state.get("state") == "running":
                raise BusyError
            self._id, self._stop, self._seen = secrets.token_urlsafe(12), threading.Event(), time.monotonic()
            self._state = {"state": "running", "what": "", "done": 0, "total": 0, "result": None, "error": ""}
            args = (make, self._stop)
            threading.Thread(target=self._run, args=args, name="cellglass-try", daemon=True).start()
            return self._id

    def state(self, name: object) -> dict[str, Any]:
        """Return how far it is: ``state`` (running, done, stopped, wrong), words, cells, result so far, error."""
        with self._lock:
            self._check(name)
            self._seen = time.monotonic()
            return dict(self._state)

    def stop(self, name: object) -> None:
        """Let it end behind the cell that it is at."""
        with self._lock:
            self._check(name)
            self._stop.set()

    def _check(self, name: object) -> None:
        if not self._id or name != self._id:
            raise InputError("that try is no longer known, since another was begun; try again")

    def _run(self, make: Callable[[], Iterator[Step]], stop: threading.Event) -> None:
        ended: dict[str, Any] = {"state": "done"}
        try:
            for step in make():
                with self._lock:
                    self._state.update(step._asdict())
                    left = time.monotonic() - self._seen > self.patience
                if (stop.is_set() or left) and (step.done < step.total or not step.total):
                    ended = {"state": "stopped"}
                    break
        except InputError as error:
            ended = {"state": "wrong", "error": str(error)}
        except Exception as error:  # the thread ends here, and whoever looks must be told
            log.error("a try failed", exc_info=error)
            ended = {"state": "wrong", "error": "the server failed at this; its log says how"}
        with self._lock:
            self._state.update(ended)

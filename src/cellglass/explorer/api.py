"""What only the live server answers: notes, and what marks a set of cells. JSON in and out; errors in plain words.

    GET  api/notes                    {"notes": {latent: state}}; a state is described in ``notes.py``
    GET  api/notes/history?latent=12  {"latent", "revisions": [...]}, the oldest first
    POST api/notes                    {"latent", "who", "base", "label", ...} -> state; 409 {"error", "present"}
    POST api/notes/undo               {"latent", "who", "base"} -> state; 409 as above
    POST api/marks[?of=concepts]      uint32 positions of cells, little endian -> {"n", "concepts", "genes"}

Whatever takes time runs in threads, so that one question never holds up another. It knows nothing of who may ask.
"""

from __future__ import annotations

import json
import logging
import sqlite3
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import anyio.to_thread
import numpy as np
from anyio import CapacityLimiter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from cellglass.errors import DamagedError, InputError
from cellglass.explorer.marks import Marker, strongest
from cellglass.explorer.marks_blocks import Array
from cellglass.explorer.notes import Conflict, Notes

T = TypeVar("T")
Endpoint = Callable[[Request], Awaitable[Response]]
log = logging.getLogger(__name__)
NO_STORE = {"cache-control": "no-store"}


class Threads:
    """Threads for work that waits for a disk or the processor, so many at once and no more."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._limiter: CapacityLimiter | None = None

    async def do(self, work: Callable[..., T], *values: Any) -> T:
        """Return what `work` returns, done in one of the threads."""
        if self._limiter is None:
            self._limiter = CapacityLimiter(self._n)  # belongs to the loop that is running
        return await anyio.to_thread.run_sync(lambda: work(*values), limiter=self._limiter)


async def read_json(request: Request) -> dict[str, Any]:
    """Return the object in the body of a request, or raise InputError."""
    try:
        text = (await request.body()).decode()
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()  # a half of a surrogate pair is no text
    except (ValueError, RecursionError):
        raise InputError("the request holds no JSON") from None
    if not isinstance(value, dict):
        raise InputError("the request holds no JSON object")
    return value


def answer_json(value: object, status: int = 200) -> Response:
    """Return JSON that is not kept by anybody."""
    return JSONResponse(value, status, headers=NO_STORE)


async def refuse(_request: Request, error: Exception) -> Response:
    """Answer any error in plain words.

    What was asked wrongly is 400, a conflict 409, and whatever is wrong on this side, such as a damaged atlas, 500.
    """
    if isinstance(error, Conflict):
        return answer_json({"error": str(error), "present": error.present}, 409)
    if isinstance(error, DamagedError):
        log.warning("%s", error)
        return answer_json({"error": str(error)}, 500)
    if isinstance(error, sqlite3.Error):
        log.error("the notes cannot be read or written: %s", error)
        return answer_json({"error": f"the notes cannot be read or written ({error}); nothing was kept"}, 500)
    if isinstance(error, InputError):
        return answer_json({"error": str(error)}, 400)
    if isinstance(error, HTTPException):
        plain = {404: "there is nothing at that address", 405: "that address does not take this kind of request"}
        return answer_json({"error": plain.get(error.status_code, error.detail)}, error.status_code)
    log.error("a request failed", exc_info=error)
    return answer_json({"error": "the server failed at this; its log says how"}, 500)


def notes_routes(notes: Notes, threads: Threads) -> list[Route]:
    """Return the routes of notes."""

    async def all_notes(_request: Request) -> Response:
        states = await threads.do(notes.states)
        return answer_json({"notes": {str(latent): state for latent, state in states.items()}})

    async def history(request: Request) -> Response:
        latent = request.query_params.get("latent", "")
        if not latent.isascii() or not latent.isdigit() or len(latent) > 9:
            raise InputError("latent: it must be the number of a concept")
        revisions = await threads.do(notes.history, int(latent))
        return answer_json({"latent": int(latent), "revisions": revisions})

    async def write(request: Request) -> Response:
        return answer_json(await threads.do(notes.write, await read_json(request)))

    async def undo(request: Request) -> Response:
        value = await read_json(request)
        return answer_json(await threads.do(notes.undo, value.get("latent"), value.get("who"), value.get("base")))

    return [
        Route("/api/notes", all_notes, methods=["GET"]),
        Route("/api/notes", write, methods=["POST"]),
        Route("/api/notes/history", history, methods=["GET"]),
        Route("/api/notes/undo", undo, methods=["POST"]),
    ]


def marks_routes(marker: Marker, latents: Array, threads: Threads) -> list[Route]:
    """Return the route of marks; `latents` are the latent numbers of the concepts, in order."""
    pool = ThreadPoolExecutor(1, "cellglass-marks")

    def find(body: bytes, of: str) -> Mapping[str, Any]:
        if len(body) % 4:
            raise InputError("the set must be positions of cells as 4 bytes each")
        cells = np.unique(np.frombuffer(body, dtype="<u4").astype(np.int64))
        beside = pool.submit(marker.genes, cells) if of != "concepts" else None
        concepts = marker.concepts(cells) if of != "genes" else None
        genes = None if beside is None else beside.result()
        return {
            "n": len(cells),
            "concepts": None if concepts is None else strongest(concepts, latents),
            "genes": None if genes is None else strongest(genes),
        }

    async def marks(request: Request) -> Response:
        of = request.query_params.get("of", "")
        if of not in ("", "concepts", "genes"):
            raise InputError("of: it must be concepts or genes")
        return answer_json(await threads.do(find, await request.body(), of))

    return [Route("/api/marks", marks, methods=["POST"])]

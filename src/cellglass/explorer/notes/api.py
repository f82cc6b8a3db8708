"""The routes of notes, which only the live server answers. JSON in and out; errors in plain words.

    GET  api/notes                    {"notes": {latent: state}}; a state is described in ``store.py``
    GET  api/notes/history?latent=12  {"latent", "revisions": [...]}, the oldest first
    POST api/notes                    {"latent", "who", "base", "label", ...} -> state; 409 {"error", "present"}
    POST api/notes/undo               {"latent", "who", "base"} -> state; 409 as above

Whatever takes time runs in threads, so that one question never holds up another. It knows nothing of who may ask.
"""

from __future__ import annotations

import logging
import sqlite3

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cellglass.errors import InputError
from cellglass.explorer.http.replies import Threads, answer_json, read_json
from cellglass.explorer.notes.store import Conflict, Notes

log = logging.getLogger(__name__)

FAILURES = (Conflict, sqlite3.Error)
"""What `refuse` answers."""


async def refuse(_request: Request, error: Exception) -> Response:
    """Answer what only notes meet: another revision that came between (409), and a file of notes that fails (500)."""
    if isinstance(error, Conflict):
        return answer_json({"error": str(error), "present": error.present}, 409)
    log.error("the notes cannot be read or written: %s", error)
    return answer_json({"error": f"the notes cannot be read or written ({error}); nothing was kept"}, 500)


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

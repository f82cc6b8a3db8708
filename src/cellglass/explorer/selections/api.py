"""The routes of selections, which only the live server answers. JSON in and out; errors in plain words.

    GET  api/selections                 {"selections": [state], "cells", "n", "strangers"}; a state: see ``store.py``
    GET  api/selections/bits?selection= the cells, as ``bits.pack`` has them
    POST api/selections                 {"name", "who", "how", "bits" (base64), "cells", "selection"} -> state
    POST api/selections/change          {"selection", "base", "who", "name" or "deleted"} -> state; 409 with {"present"}
    POST api/selections/undo            {"selection", "base", "who"} -> state; 409 as above

The store is made at the first question, since the names of a million cells take a second to be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cellglass.explorer.http.replies import NO_STORE, Threads, answer_json, read_json
from cellglass.explorer.selections.store import Selections


def selection_routes(kept: Callable[[], Selections], threads: Threads) -> list[Route]:
    """Return the routes of selections; `kept` returns the store, the same at each call."""

    def listing() -> dict[str, Any]:
        store = kept()
        states = list(store.states().values())
        return {"selections": states, "cells": store.cells, "n": store.n, "strangers": store.strangers()}

    async def every(_request: Request) -> Response:
        return answer_json(await threads.do(listing))

    async def cells(request: Request) -> Response:
        key = request.query_params.get("selection", "")
        packed = await threads.do(lambda: kept().packed(key))
        return Response(packed, headers={**NO_STORE, "content-type": "application/octet-stream"})

    async def add(request: Request) -> Response:
        told = await read_json(request)
        return answer_json(await threads.do(lambda: kept().add(told)))

    async def change(request: Request) -> Response:
        told = await read_json(request)
        return answer_json(await threads.do(lambda: kept().change(told)))

    async def undo(request: Request) -> Response:
        told = await read_json(request)
        return answer_json(await threads.do(lambda: kept().undo(told)))

    return [
        Route("/api/selections", every, methods=["GET"]),
        Route("/api/selections/bits", cells, methods=["GET"]),
        Route("/api/selections", add, methods=["POST"]),
        Route("/api/selections/change", change, methods=["POST"]),
        Route("/api/selections/undo", undo, methods=["POST"]),
    ]


def most_bytes(n_cells: int) -> int:
    """Return how large the body of a new selection may be: one bit a cell in base64, which need not compress."""
    return (64 << 10) + n_cells // 5

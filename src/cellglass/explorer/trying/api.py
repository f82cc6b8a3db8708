"""The routes of what is tried, which only the live server answers. JSON in and out; errors in plain words.

    GET  api/try?circuit=NAME    {"ready", "command", "features", "cells", "column", "label", "most"}
    POST api/try                 what ``wanted.py`` reads -> {"id"}; 409 while another runs
    GET  api/try/state?id=       {"state", "what", "done", "total", "result", "error"}
    POST api/try/stop            {"id"} -> {}

Without a model there is the first alone, which says what command to run. It knows nothing of who may ask.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cellglass.errors import InputError
from cellglass.explorer.http.replies import Threads, answer_json, read_json
from cellglass.explorer.trying import wanted as bounds
from cellglass.explorer.trying.answers import steps
from cellglass.explorer.trying.bench import COMMAND, Bench, label_of
from cellglass.explorer.trying.wanted import read_wanted
from cellglass.explorer.trying.work import BusyError, Work

MOST_NAMES = 50
"""Cells of a class that can be chosen from."""


def try_routes(bench: Bench | None, threads: Threads, work: Work | None = None) -> list[Route]:
    """Return the routes; `bench` is None where the server was started without a model."""
    work = work or Work()

    def told(name: str) -> dict[str, Any]:
        if bench is None:
            return {"ready": False, "command": COMMAND}
        about = bench.about(name)
        column, label = label_of(about, bench.column)
        groups = about.get("cell_names")
        made = groups[0] if isinstance(groups, list) and groups and isinstance(groups[0], list) else [about.get("cell")]
        return {
            "ready": True, "command": COMMAND, "features": bench.given.transcoders is not None,
            "cells": [str(one) for one in made if one][:MOST_NAMES], "column": column, "label": label,
            "most": {"cells": bounds.MOST_CELLS, "factor": bounds.MOST_FACTOR, "count": bounds.MOST_COUNT},
        }  # fmt: skip

    async def overview(request: Request) -> Response:
        return answer_json(await threads.do(told, request.query_params.get("circuit", "")))

    def begun(value: dict[str, Any]) -> str:
        if bench is None:
            raise InputError(f"the explorer was started without a model; start it with: {COMMAND}")
        asked = read_wanted(value)
        bench.about(asked.circuit)
        return work.begin(lambda: steps(bench, asked))

    async def begin(request: Request) -> Response:
        try:
            return answer_json({"id": await threads.do(begun, await read_json(request))})
        except BusyError as error:
            return answer_json({"error": str(error)}, 409)

    async def state(request: Request) -> Response:
        return answer_json(work.state(request.query_params.get("id", "")))

    async def stop(request: Request) -> Response:
        work.stop((await read_json(request)).get("id"))
        return answer_json({})

    return [
        Route("/api/try", overview, methods=["GET"]),
        Route("/api/try", begin, methods=["POST"]),
        Route("/api/try/state", state, methods=["GET"]),
        Route("/api/try/stop", stop, methods=["POST"]),
    ]

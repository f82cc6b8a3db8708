"""What routes answer with: JSON that nobody keeps, errors in plain words, and threads for what takes time.

It knows nothing of who may ask, nor of what is asked.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from cellglass.errors import DamagedError, InputError

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

    What was asked wrongly is 400, and whatever is wrong on this side, such as a damaged atlas, 500.
    """
    if isinstance(error, DamagedError):
        log.warning("%s", error)
        return answer_json({"error": str(error)}, 500)
    if isinstance(error, InputError):
        return answer_json({"error": str(error)}, 400)
    if isinstance(error, HTTPException):
        plain = {404: "there is nothing at that address", 405: "that address does not take this kind of request"}
        return answer_json({"error": plain.get(error.status_code, error.detail)}, error.status_code)
    log.error("a request failed", exc_info=error)
    return answer_json({"error": "the server failed at this; its log says how"}, 500)

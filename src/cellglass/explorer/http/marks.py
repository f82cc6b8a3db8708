"""The route that says what marks a set of cells, which only the live server answers.

    POST api/marks[?of=concepts]      uint32 positions of cells, little endian -> {"n", "concepts", "genes"}

It runs in threads, so that one question never holds up another. It knows nothing of who may ask.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cellglass.atlas.columns import Array
from cellglass.atlas.markers.rank_sum import Marker, top_k
from cellglass.errors import InputError
from cellglass.explorer.http.replies import Threads, answer_json


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
            "concepts": None if concepts is None else top_k(concepts, latents),
            "genes": None if genes is None else top_k(genes),
        }

    async def marks(request: Request) -> Response:
        of = request.query_params.get("of", "")
        if of not in ("", "concepts", "genes"):
            raise InputError("of: it must be concepts or genes")
        return answer_json(await threads.do(find, await request.body(), of))

    return [Route("/api/marks", marks, methods=["POST"])]

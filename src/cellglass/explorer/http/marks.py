"""The route that says what marks a set of cells, which only the live server answers.

    POST api/marks[?of=concepts][&a=120][&donors=LABEL]     -> {"n", "m", "concepts", "genes", "donors"}

The body is positions of cells, uint32, little endian. With ``a``, so many of them are the set, and those that follow
are what it is held against; without it that is all other cells. With ``donors``, the differences are also those of
donors, and rows have them. It runs in threads, so that one question never holds up another. It knows nothing of who
may ask.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
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


def marks_routes(
    marker: Marker, latents: Array, threads: Threads, donors: Callable[[str], Array] | None = None
) -> list[Route]:
    """Return the route of marks.

    Parameters
    ----------
    latents : numpy.ndarray
        The latent numbers of the concepts, in order.
    donors : callable, optional
        Returns the number of each cell's value of a label, 0 for none, or raises InputError.
    """
    pool = ThreadPoolExecutor(1, "cellglass-marks")

    def find(body: bytes, of: str, n_set: int | None, label: str) -> Mapping[str, Any]:
        cells, others = _sets(body, n_set)
        donor = donors(label) if label and donors is not None else None

        def genes() -> tuple[Any, Any]:
            return marker.genes(cells, others), None if donor is None else marker.donors("genes", cells, others, donor)

        beside = pool.submit(genes) if of != "concepts" else None
        concepts = marker.concepts(cells, others) if of != "genes" else None
        by = marker.donors("concepts", cells, others, donor) if of != "genes" and donor is not None else None
        found, found_by = (None, None) if beside is None else beside.result()
        told = by if by is not None else found_by
        return {
            "n": len(cells),
            "m": marker.n_cells - len(cells) if others is None else len(others),
            "concepts": None if concepts is None else top_k(concepts, latents, by=by),
            "genes": None if found is None else top_k(found, by=found_by),
            "donors": None if told is None else {"label": label, "test": told.test, "n": told.n, "why": told.why},
        }

    async def marks(request: Request) -> Response:
        of, a = request.query_params.get("of", ""), request.query_params.get("a", "")
        if of not in ("", "concepts", "genes"):
            raise InputError("of: it must be concepts or genes")
        if a and not (a.isascii() and a.isdigit() and len(a) < 10):
            raise InputError("a: it must be how many of the positions are the set")
        label = request.query_params.get("donors", "")
        return answer_json(await threads.do(find, await request.body(), of, int(a) if a else None, label))

    return [Route("/api/marks", marks, methods=["POST"])]


def _sets(body: bytes, n_set: int | None) -> tuple[Array, Array | None]:
    """Return the set and what it is held against, each position once; a cell in both is in neither."""
    if len(body) % 4:
        raise InputError("the set must be positions of cells as 4 bytes each")
    positions = np.frombuffer(body, dtype="<u4").astype(np.int64)
    if n_set is None:
        return np.unique(positions), None
    if n_set > len(positions):
        raise InputError(f"a: it is {n_set:,}, but there are {len(positions):,} positions")
    cells, others = np.unique(positions[:n_set]), np.unique(positions[n_set:])
    both = np.intersect1d(cells, others)
    return np.setdiff1d(cells, both), np.setdiff1d(others, both)

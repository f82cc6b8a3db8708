"""The routes of blind review. Nothing that leaves here before a session has ended tells of what kind an item is.

GET  api/review                                  {"sessions": [...], "kinds": {kind: whether the atlas has it}}
POST api/review/start                            {"concept": 20, "neuron": 20, "random": 20, "repeats", "seed"}
POST api/review/next                             {"session", "rater"} -> {"done", "of", "code", "ended"}
GET  api/review/item?session=&rater=&code=       {"n", "labels", "genes"}
GET  api/review/activation?session=&rater=&code= bytes, as data/activations has them
POST api/review/answer                           {"session", "rater", "code", "rating", ...} -> as next
POST api/review/end                              {"session"}
GET  api/review/results?session=                 {"answers": [...], "agreement": {...}}, once it has ended
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cellglass.errors import InputError
from cellglass.explorer.agreement import agreement
from cellglass.explorer.api import NO_STORE, Threads, answer_json, read_json
from cellglass.explorer.notes import Notes
from cellglass.explorer.review import KINDS, REPEATS, Review, draw_items
from cellglass.explorer.review_items import Evidence


def review_routes(notes: Notes, evidence: Evidence, light: Threads, heavy: Threads) -> list[Route]:
    """Return the routes of blind review."""
    review = Review(notes)

    return [*_study_routes(review, evidence, light, heavy), *_rating_routes(review, evidence, light, heavy)]


def _study_routes(review: Review, evidence: Evidence, light: Threads, heavy: Threads) -> list[Route]:
    """Return the routes of whoever leads a study: begin, see how far it is, end, and read the results."""

    async def overview(_request: Request) -> Response:
        kinds = {kind: evidence.has(kind) for kind in KINDS}
        return answer_json({"sessions": await light.do(review.sessions), "kinds": kinds})

    def begin(asked: dict[str, Any]) -> dict[str, Any]:
        seed = asked.get("seed")
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or abs(seed) >= 2**63):
            raise InputError("seed: it must be a whole number, or null")
        drawn_from = _fresh_seed() if seed is None else seed
        others = any(asked.get(kind) for kind in KINDS[1:])
        items = draw_items(evidence.concepts(), evidence.n_latents() if others else {}, asked, drawn_from)
        evidence.prepare(items)
        return {"session": review.start(items, drawn_from, asked.get("repeats", REPEATS))}

    async def start(request: Request) -> Response:
        return answer_json(await heavy.do(begin, await read_json(request)))

    async def end(request: Request) -> Response:
        session = (await read_json(request)).get("session")
        await light.do(review.end, session)
        return answer_json({"ended": True})

    def results(session: str) -> dict[str, Any]:
        table = review.table(session)
        return {"answers": table.to_dict("records"), "agreement": agreement(table)}

    async def outcome(request: Request) -> Response:
        return answer_json(await heavy.do(results, request.query_params.get("session", "")))

    return [
        Route("/api/review", overview, methods=["GET"]),
        Route("/api/review/start", start, methods=["POST"]),
        Route("/api/review/end", end, methods=["POST"]),
        Route("/api/review/results", outcome, methods=["GET"]),
    ]


def _rating_routes(review: Review, evidence: Evidence, light: Threads, heavy: Threads) -> list[Route]:
    """Return the routes of a rater."""

    async def following(request: Request) -> Response:
        asked = await read_json(request)
        place = await light.do(review.place, asked.get("session"), asked.get("rater"))
        return answer_json(place._asdict())

    def shown(request: Request) -> tuple[Any, ...]:
        given = request.query_params
        return tuple(given.get(name, "") for name in ("session", "rater", "code"))

    def known(asked: tuple[Any, ...]) -> Any:
        item = review.item(*asked)
        evidence.prepare(review.items(asked[0]))  # all at once, so that no kind takes longer than another
        return item

    async def item(request: Request) -> Response:
        return answer_json(await heavy.do(lambda asked: evidence.facts(known(asked)), shown(request)))

    async def activation(request: Request) -> Response:
        content = await heavy.do(lambda asked: evidence.activation(known(asked)), shown(request))
        return Response(content, media_type="application/octet-stream", headers=NO_STORE)

    async def answer(request: Request) -> Response:
        asked = await read_json(request)
        names = [asked.get(name) for name in ("session", "rater", "code")]
        place = await light.do(review.answer, *names, asked)
        return answer_json(place._asdict())

    return [
        Route("/api/review/next", following, methods=["POST"]),
        Route("/api/review/item", item, methods=["GET"]),
        Route("/api/review/activation", activation, methods=["GET"]),
        Route("/api/review/answer", answer, methods=["POST"]),
    ]


def _fresh_seed() -> int:
    import secrets

    return secrets.randbits(62)

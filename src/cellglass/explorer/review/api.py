"""The routes of blind review. Nothing that leaves here before a session has ended tells of what kind an item is.

GET  api/review                                  {"sessions": [...], "kinds": {kind: whether the atlas has it}}
POST api/review/start                            {"concept": 20, "neuron": 20, "random": 20, "repeats", "seed",
                                                 "labels": whether raters see which groups of cells an item has}
                                                 -> {"session", "key"}: the leader's key, told this once; null
                                                 where the very session was there already
POST api/review/next                             {"session", "rater"} -> {"done", "of", "code", "ended", "previous"}
GET  api/review/item?session=&rater=&code=       {"n", "labels" (null where they are hidden), "genes"}
GET  api/review/given?session=&rater=            {"given": {"rating", "label", "comment"} of the item before, or null}
GET  api/review/activation?session=&rater=&code= bytes, as data/activations has them
POST api/review/answer                           {"session", "rater", "code", "rating", ...} -> as next; of the item
                                                 before too, which takes the place of its rating
POST api/review/end                              {"session", "key"}; on loopback, where whoever asks owns the file
                                                 of notes, the key may be left out
GET  api/review/results?session=                 {"answers": [...], "agreement": {...}}, once it has ended
POST api/review/results                          {"session", "key"} -> the same, at any time
"""

from __future__ import annotations

import secrets
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from cellglass.errors import InputError
from cellglass.evaluation.rater_agreement import agreement
from cellglass.explorer.http.replies import NO_STORE, Threads, answer_json, read_json
from cellglass.explorer.notes.store import Notes
from cellglass.explorer.review.items import Evidence
from cellglass.explorer.review.session import KINDS, REPEATS, Review, draw_items

_NOT_LEADER = "only whoever began this session may do that, with the key that was told then"


def review_routes(
    notes: Notes, evidence: Evidence, light: Threads, heavy: Threads, *, shared: bool = False
) -> list[Route]:
    """Return the routes of blind review.

    Parameters
    ----------
    shared : bool
        Whether other people reach the server, so that a session is ended by its leader alone.
    """
    review = Review(notes)
    summary = _summary_routes(review, evidence, light, heavy, shared)
    return [*summary, *_rating_routes(review, evidence, light, heavy)]


def _summary_routes(review: Review, evidence: Evidence, light: Threads, heavy: Threads, shared: bool) -> list[Route]:
    """Return the routes of whoever leads a session: begin, see how far it is, end, and read the results."""

    async def overview(_request: Request) -> Response:
        kinds = {kind: evidence.has(kind) for kind in KINDS}
        return answer_json({"sessions": await light.do(review.sessions), "kinds": kinds})

    def begin(asked: dict[str, Any]) -> dict[str, Any]:
        seed = asked.get("seed")
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or abs(seed) >= 2**63):
            raise InputError("seed: it must be a whole number, or null")
        drawn_from = secrets.randbits(62) if seed is None else seed
        others = any(asked.get(kind) for kind in KINDS[1:])
        items = draw_items(evidence.concepts(), evidence.n_latents() if others else {}, asked, drawn_from)
        evidence.prepare(items)
        return review.begin(items, drawn_from, asked.get("repeats", REPEATS), asked.get("labels", False))._asdict()

    async def start(request: Request) -> Response:
        return answer_json(await heavy.do(begin, await read_json(request)))

    def finish(session: object, key: object) -> None:
        if (shared or key is not None) and not review.leads(session, key):
            raise InputError(_NOT_LEADER)
        review.end(session)

    async def end(request: Request) -> Response:
        asked = await read_json(request)
        await light.do(finish, asked.get("session"), asked.get("key"))
        return answer_json({"ended": True})

    def results(session: str, early: bool) -> dict[str, Any]:
        table = review.table(session, early=early)
        return {"answers": table.to_dict("records"), "agreement": agreement(table)}

    async def outcome(request: Request) -> Response:
        return answer_json(await heavy.do(results, request.query_params.get("session", ""), False))

    async def early(request: Request) -> Response:
        asked = await read_json(request)
        if not await light.do(review.leads, asked.get("session"), asked.get("key")):
            raise InputError(_NOT_LEADER)
        return answer_json(await heavy.do(results, str(asked.get("session")), True))

    return [
        Route("/api/review", overview, methods=["GET"]),
        Route("/api/review/start", start, methods=["POST"]),
        Route("/api/review/end", end, methods=["POST"]),
        Route("/api/review/results", outcome, methods=["GET"]),
        Route("/api/review/results", early, methods=["POST"]),
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

    def facts(asked: tuple[Any, ...]) -> dict[str, Any]:
        told = evidence.facts(known(asked))
        return told if review.shows_labels(asked[0]) else {**told, "labels": None}

    async def item(request: Request) -> Response:
        return answer_json(await heavy.do(facts, shown(request)))

    async def given(request: Request) -> Response:
        session, rater, _ = shown(request)
        return answer_json({"given": await light.do(review.given, session, rater)})

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
        Route("/api/review/given", given, methods=["GET"]),
        Route("/api/review/answer", answer, methods=["POST"]),
    ]

"""Blind review over HTTP, as raters and their leader see it: nothing tells of what kind an item is too early."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cellglass.atlas import open_atlas
from cellglass.explorer.data.columns import from_bytes
from cellglass.explorer.http.security import cookie_name
from cellglass.explorer.notes.place import open_notes
from cellglass.explorer.review.items import Evidence
from cellglass.explorer.review.session import Review
from live import Answer, Client, make_page, running

WANTED = {"concept": 6, "neuron": 6, "random": 6}
TOKEN = "a-token-of-the-test"  # noqa: S105


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_page(tmp_path_factory.mktemp("review") / "page")


@pytest.fixture(scope="module")
def client(full_folder: Path, page: Path) -> Iterator[Client]:
    with running(full_folder, page, page.parent / "notes.sqlite") as found:
        yield found


def begin(client: Client, **asked: Any) -> dict[str, Any]:
    answer = client.post("/api/review/start", {**WANTED, **asked})
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.json
    return found


def rate(client: Client, session: str, rater: str, most: int = 10_000) -> list[tuple[str, Answer, Answer]]:
    """Rate items as the page does; return the code of each and what was told of it."""
    told = []
    place = client.post("/api/review/next", {"session": session, "rater": rater})
    while (code := place.json["code"]) and len(told) < most:
        asked = f"session={session}&rater={rater}&code={code}"
        told.append(
            (code, client.get(f"/api/review/item?{asked}"), client.get(f"/api/review/activation?{asked}"))
        )  # fmt: skip
        given = {"session": session, "rater": rater, "code": code, "rating": 1 + len(told) % 5, "seconds": 1.5}
        place = client.post("/api/review/answer", given)
        assert place.status == 200, place.body
    return told


def words(value: Any) -> set[str]:
    """Return every key and text in a JSON value."""
    if isinstance(value, dict):
        return set(value).union(*map(words, value.values())) if value else set()
    if isinstance(value, list):
        return set().union(*map(words, value)) if value else set()
    return {value} if isinstance(value, str) else set()


def test_no_answer_tells_the_kind_of_an_item(client: Client, page: Path, full_folder: Path) -> None:
    session = begin(client)["session"]
    told = rate(client, session, "Ada")
    assert len(told) == 18 + 3
    with open_notes(open_atlas(full_folder), page.parent / "notes.sqlite") as notes:
        items = {code: Review(notes).item(session, "Ada", code) for code, _, _ in told}
    assert {item.kind for item in items.values()} == set(WANTED)
    names = set()
    for code, facts, cells in told:
        assert (facts.status, cells.status) == (200, 200)
        item, column = items[code], from_bytes(cells.body)
        assert len(column.rows) == facts.json["n"] == item.size
        assert column.values.max() == 1
        assert not words(facts.json) & {"concept", "neuron", "random", "kind", "latent", "number"}
        headers = frozenset(name for name in (*facts.headers, *cells.headers))
        assert facts.json["labels"] is None, "they are hidden unless whoever begins shows them"
        names.add((frozenset(facts.json), frozenset(facts.json["genes"][0]), headers))
        assert "no-store" in facts.headers["cache-control"]
    assert len(names) == 1
    sizes = {kind: {item.size for item in items.values() if item.kind == kind} for kind in WANTED}
    assert sizes["neuron"] | sizes["random"] <= sizes["concept"]
    overview = client.get("/api/review").json
    assert set(overview["kinds"]) == set(WANTED)
    assert not words(overview["sessions"]) & set(WANTED)
    assert client.get(f"/api/review/results?session={session}").status == 400


def test_all_items_are_made_together_so_that_none_takes_longer(
    full_folder: Path, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[str] = []
    real = Evidence._respond

    def counted(self: Evidence, kind: str, items: Any) -> Any:
        passes.append(kind)
        return real(self, kind, items)

    monkeypatch.setattr(Evidence, "_respond", counted)
    with running(full_folder, page, tmp_path / "n.sqlite") as client:
        session = begin(client)["session"]
        assert sorted(passes) == ["neuron", "random"]
        rate(client, session, "Ada", 8)
        assert len(passes) == 2
    with running(full_folder, page, tmp_path / "n.sqlite") as client:
        rate(client, session, "Ada", 1)
        assert sorted(passes) == ["neuron", "neuron", "random", "random"]  # whatever the kind of the first item is
        rate(client, session, "Bob", 8)
        assert len(passes) == 4


def test_raters_have_codes_of_their_own_and_progress_is_kept(client: Client) -> None:
    session = begin(client)["session"]
    ada, bob = rate(client, session, "Ada", 5), rate(client, session, "Bob", 5)
    assert not {code for code, _, _ in ada} & {code for code, _, _ in bob}
    place = client.post("/api/review/next", {"session": session, "rater": "Ada"}).json
    assert (place["done"], place["of"], place["ended"]) == (5, 21, False)
    listed = next(one for one in client.get("/api/review").json["sessions"] if one["id"] == session)
    assert listed["raters"] == [{"rater": "Ada", "done": 5}, {"rater": "Bob", "done": 5}]
    foreign = client.get(f"/api/review/item?session={session}&rater=Bob&code={ada[0][0]}")
    assert foreign.status == 400


def test_labels_are_shown_where_the_session_was_begun_so(client: Client) -> None:
    session = begin(client, labels=True)["session"]
    ((_, facts, _),) = rate(client, session, "Ada", 1)
    assert set(facts.json["labels"]) == {"cell type", "phase"}
    assert [one["labels"] for one in client.get("/api/review").json["sessions"] if one["id"] == session] == [True]


def test_a_rater_goes_back_one_item_and_rates_it_anew(client: Client) -> None:
    session = begin(client)["session"]
    asked = {"session": session, "rater": "Ada"}
    path = f"/api/review/given?session={session}&rater=Ada"
    assert client.post("/api/review/next", asked).json["previous"] is None
    assert client.get(path).json == {"given": None}
    codes = [code for code, _, _ in rate(client, session, "Ada", 2)]
    place = client.post("/api/review/next", asked).json
    assert (place["done"], place["previous"]) == (2, codes[1])
    again = {**asked, "code": codes[1], "rating": 5, "label": "anew", "comment": "", "seconds": 1.0}
    assert client.post("/api/review/answer", again).json == place
    assert client.get(path).json == {"given": {"rating": 5, "label": "anew", "comment": ""}}
    answer = client.post("/api/review/answer", {**again, "code": codes[0]})
    assert (answer.status, "all ratings but the last one stand" in answer.json["error"]) == (400, True)


def test_results_come_after_the_end(client: Client) -> None:
    session = begin(client)["session"]
    rate(client, session, "Ada")
    rate(client, session, "Bob", 6)
    assert client.post("/api/review/end", {"session": session}).json == {"ended": True}
    found = client.get(f"/api/review/results?session={session}").json
    assert len(found["answers"]) == 21 + 6
    assert {row["kind"] for row in found["answers"] if row["rater"] == "Ada"} == set(WANTED)
    assert {one["against"] for one in found["agreement"]["differences"]} == {"neuron", "random"}
    place = client.post("/api/review/next", {"session": session, "rater": "Bob"}).json
    assert place["ended"] is True
    late = {"session": session, "rater": "Bob", "code": place["code"], "rating": 3}
    assert client.post("/api/review/answer", late).status == 400


def test_on_loopback_the_key_may_be_left_out_but_a_wrong_one_is_refused(client: Client) -> None:
    first = begin(client, seed=12)
    assert len(first["key"]) >= 20
    assert begin(client, seed=12) == {"session": first["session"], "key": None}  # who begins it again does not lead it
    wrong = [client.post("/api/review/end", {"session": first["session"], "key": key}) for key in ("x", "", 3, [])]
    assert [answer.status for answer in wrong] == [400] * 4
    assert client.post("/api/review/end", {"session": first["session"]}).status == 200


def test_early_results_need_the_key(client: Client, page: Path) -> None:
    begun, other = begin(client), begin(client)
    rate(client, begun["session"], "Ada", 3)
    for key in (None, "", "x", other["key"]):
        answer = client.post("/api/review/results", {"session": begun["session"], "key": key})
        assert answer.status == 400
        assert "only whoever began" in answer.json["error"]
    assert len(client.post("/api/review/results", begun).json["answers"]) == 3
    assert begun["key"].encode() not in (page.parent / "notes.sqlite").read_bytes()  # a hash of it is kept
    assert begun["key"].encode() not in (page.parent / "notes.sqlite-wal").read_bytes()


def test_where_others_reach_the_server_only_the_leader_ends_a_session(
    full_folder: Path, page: Path, tmp_path: Path
) -> None:
    with running(full_folder, page, tmp_path / "n.sqlite", token=TOKEN) as client:
        cookie = {"Cookie": f"{cookie_name(f'127.0.0.1:{client.port}')}={TOKEN}"}
        begun = client.post("/api/review/start", WANTED, cookie).json
        for asked in ({}, {"key": None}, {"key": "x"}, {"key": ["x"]}):
            answer = client.post("/api/review/end", {"session": begun["session"], **asked}, cookie)
            assert (answer.status, "only whoever began" in answer.json["error"]) == (400, True)
        assert client.get(f"/api/review/results?session={begun['session']}", **cookie).status == 400
        assert client.post("/api/review/end", begun, cookie).json == {"ended": True}
        assert client.get(f"/api/review/results?session={begun['session']}", **cookie).status == 200


@pytest.mark.parametrize(
    "asked",
    [
        {"concept": 24}, {"neuron": 33}, {"concept": -1}, {"concept": 1.5}, {"concept": True}, {"concept": "2"}, {},
        {"concept": 2, "seed": "x"}, {"concept": 2, "seed": 2**63}, {"concept": 2, "seed": True},
        {"concept": 2, "repeats": 0.6}, {"concept": 2, "repeats": None}, {"concept": 2, "repeats": "x"},
        {"concept": 10**30}, {"concept": None}, {"concept": 2, "labels": "yes"},
    ],
)  # fmt: skip
def test_a_session_that_cannot_be_is_refused_in_words(client: Client, asked: dict[str, Any]) -> None:
    before = client.get("/api/review").json["sessions"]
    answer = client.post("/api/review/start", asked)
    assert answer.status == 400
    assert set(answer.json) == {"error"}
    assert client.get("/api/review").json["sessions"] == before


@pytest.mark.parametrize("path", ["next", "answer", "end", "results"])
def test_strange_sessions_are_refused_in_words(client: Client, path: str) -> None:
    for session in (None, 3, {}, [], "nothing", "\ud800", "x" * 10_000, "' OR 1=1 --"):
        body = json.dumps({"session": session, "rater": "Ada", "code": "0", "rating": 3, "key": "k"})
        answer = client.post(f"/api/review/{path}", body.encode())
        assert (answer.status, set(answer.json)) == (400, {"error"}), session

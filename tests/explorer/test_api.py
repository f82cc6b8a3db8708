"""The routes of notes and marks on a real server: what they take, what they answer, and how failures read."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellglass.atlas.read import open_atlas
from cellglass.explorer.api import Threads
from cellglass.explorer.marks import Marker, strongest
from live import Client, make_page, running


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_page(tmp_path_factory.mktemp("api") / "page")


@pytest.fixture(scope="module")
def client(full_folder: Path, page: Path) -> Iterator[Client]:
    with running(full_folder, page, page.parent / "notes.sqlite") as found:
        yield found


def test_threads_do_so_many_things_at_once_and_no_more() -> None:
    now, most, lock = 0, 0, threading.Lock()
    together = threading.Barrier(3, timeout=20)

    def work(number: int) -> int:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        together.wait()
        with lock:
            now -= 1
        return number

    async def all_of_it() -> list[int]:
        threads = Threads(3)
        return list(await asyncio.gather(*(threads.do(work, i) for i in range(9))))

    assert asyncio.run(all_of_it()) == list(range(9))
    assert most == 3


def test_marks_are_what_the_marker_finds(client: Client, full_folder: Path) -> None:
    cells = np.sort(np.random.default_rng(0).choice(700, 80, replace=False))
    marker = Marker(open_atlas(full_folder))
    expected = json.loads(json.dumps(strongest(marker.concepts(cells), np.arange(24))))
    found = client.post("/api/marks", np.r_[cells, cells[:9]].astype("<u4").tobytes()).json  # some twice
    assert (found["n"], found["concepts"]) == (80, expected)
    assert found["genes"] == json.loads(json.dumps(strongest(marker.genes(cells))))
    one = [client.post(f"/api/marks?of={of}", cells.astype("<u4").tobytes()).json for of in ("concepts", "genes")]
    assert [(part["concepts"], part["genes"]) for part in one] == [(expected, None), (None, found["genes"])]
    assert client.post("/api/marks?of=cells", b"").status == 400


@pytest.mark.parametrize("latent", ["", "x", "-1", "1.0", "٣", "1" * 10, "1e1", "1;2"])
def test_history_is_of_a_concept_alone(client: Client, latent: str) -> None:
    from urllib.parse import quote

    answer = client.get(f"/api/notes/history?latent={quote(latent)}")
    assert (answer.status, answer.json) == (400, {"error": "latent: it must be the number of a concept"})
    assert client.get("/api/notes/history?latent=3").json == {"latent": 3, "revisions": []}


@pytest.mark.parametrize(
    "value",
    [
        {"label": "\ud800"}, {"label": "\x00"}, {"who": "\ud800"}, {"base": "\ud800"}, {"\ud800": 1}, {"latent": 2**70},
        {"latent": [1]}, {"tags": {"a": 1}}, {"confidence": [5]}, {"status": []}, {"base": {}}, {"text": 1e308},
    ],
)  # fmt: skip
def test_every_wrong_note_is_refused_in_words(client: Client, value: dict[str, Any]) -> None:
    note = {"latent": 1, "who": "Ada", "base": None, "label": "x", **value}
    answer = client.post("/api/notes", json.dumps(note).encode())
    assert (answer.status, set(answer.json)) == (400, {"error"})
    assert client.get("/api/notes/history?latent=1").json["revisions"] == []


@pytest.mark.parametrize(
    "body", [b"NaN", b"1" * 5000, b'{"a":' * 9000, b"\x00", b'"' + b"\\u0000" * 99, b"nul", b"{}x"]
)
def test_what_is_no_json_object_is_refused(client: Client, body: bytes) -> None:
    answer = client.post("/api/notes", body)
    assert (answer.status, answer.json["error"].startswith("the request holds no JSON")) == (400, True)


def test_unknown_addresses_and_methods_are_answered_in_words(client: Client) -> None:
    assert client.post("/api/nothing", {}).status in (404, 405)
    assert client.get("/api/marks").json == {"error": "there is nothing at that address"}
    assert client.post("/data/manifest.json", {}).json == {"error": "that address does not take this kind of request"}


def test_notes_that_cannot_be_kept_are_said_and_later_ones_are_kept(
    full_folder: Path, page: Path, tmp_path: Path
) -> None:
    note = {"latent": 1, "who": "Ada", "base": None, "label": "x"}
    with running(full_folder, page, tmp_path / "n.sqlite") as client:
        with sqlite3.connect(tmp_path / "n.sqlite") as other:
            other.execute("ALTER TABLE revisions RENAME TO away")
        other.close()
        answer = client.post("/api/notes", note)
        assert answer.status == 500
        assert answer.json["error"].startswith("the notes cannot be read or written (no such table")
        assert client.get("/data/manifest.json").status == 200
        with sqlite3.connect(tmp_path / "n.sqlite") as other:
            other.execute("ALTER TABLE away RENAME TO revisions")
        other.close()
        assert client.post("/api/notes", note).json["person"]["label"] == "x"

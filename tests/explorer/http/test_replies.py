"""What routes answer with: threads are bounded, and what is asked wrongly is refused in words."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from cellglass.explorer.http.replies import Threads
from live import Client, make_page, running


@pytest.fixture(scope="module")
def client(full_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("replies")
    with running(full_folder, make_page(folder / "page"), folder / "notes.sqlite") as found:
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

    with ThreadPoolExecutor(1) as alone:  # a browser test may have left a loop in this thread
        assert alone.submit(lambda: asyncio.run(all_of_it())).result() == list(range(9))
    assert most == 3


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

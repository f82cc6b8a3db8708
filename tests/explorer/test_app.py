"""The live server as it runs: files, caches, notes that survive a kill, ports."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cellglass.atlas.read import open_atlas
from cellglass.errors import InputError
from cellglass.explorer.app import address_of, listen, serve
from cellglass.explorer.data.tree import Tree
from explorer.conftest import add_circuits
from live import Client, make_page, running
from synthetic import make_atlas


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    make_atlas(folder / "atlas", n_cells=200, n_concepts=12)
    add_circuits(folder / "atlas")
    make_page(folder / "page")
    return folder


@pytest.fixture(scope="module")
def client(place: Path) -> Iterator[Client]:
    with running(place / "atlas", place / "page", place / "notes.sqlite", pack=True) as found:
        yield found


def test_every_file_of_the_tree_is_served_as_it_is(client: Client, place: Path) -> None:
    tree = Tree(open_atlas(place / "atlas"), live=True)
    paths = list(tree.paths())
    assert len(paths) > 20
    for path in [*paths[:5], *paths[5::7]]:
        answer = client.get(f"/{path}")
        assert (answer.status, answer.body == tree.get(path)) == (200, True), path
    assert client.get("/data/manifest.json").json["live"] is True


@pytest.mark.parametrize("folder", ["circuits", "circuit-files", "neuronpedia"])
def test_circuits_are_found_by_place_alone_and_told_to_nobody_else(client: Client, place: Path, folder: str) -> None:
    assert [one["name"] for one in client.get("/data/circuits.json").json][1] == "by-hand"
    answer = client.get(f"/data/{folder}/1.json")
    assert (answer.status, answer.body) == (200, Tree(open_atlas(place / "atlas")).get(f"data/{folder}/1.json"))
    assert answer.headers["content-type"] == "application/json"
    for path in ("2.json", "by-hand.json", "../by-hand.json", "%2e%2e/1.json", "..%2fby-hand.json", "-1.json", "1.svg"):
        assert client.get(f"/data/{folder}/{path}").status == 404, path
    assert client.get(f"/data/{folder}/1.json", Host="evil.example").status == 421
    elsewhere = {"Origin": "http://evil.example"}
    assert client.post(f"/data/{folder}/1.json", {}, elsewhere).status in (403, 405)


def test_a_file_that_did_not_change_is_not_sent_again(client: Client) -> None:
    first = client.get("/data/concepts.json")
    again = client.get("/data/concepts.json", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert client.get("/data/concepts.json", If_None_Match='"other"').body == first.body
    assert "immutable" in client.get("/assets/index-Bx3kd92a.js").headers["cache-control"]
    assert "no-cache" in client.get("/").headers["cache-control"]


def test_text_is_packed_where_the_browser_takes_it_and_numbers_are_not(client: Client) -> None:
    plain, packed = client.get("/data/concepts.json"), client.get("/data/concepts.json", Accept_Encoding="br, gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed.body) == plain.body
    assert packed.headers["etag"] != plain.headers["etag"]
    assert "content-encoding" not in client.get("/data/xy.bin", Accept_Encoding="gzip").headers
    assert "content-encoding" not in client.get("/", Accept_Encoding="gzip;q=0").headers


def test_head_has_no_body(client: Client) -> None:
    answer = client.ask("HEAD", "/data/manifest.json")
    assert (answer.status, answer.body) == (200, b"")


def test_a_note_goes_round_and_a_conflict_shows_what_is_there(client: Client) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    first = client.post("/api/notes", {"latent": 2, "who": "Ada", "base": None, "label": evil}).json
    assert first["person"]["label"] == evil
    conflict = client.post("/api/notes", {"latent": 2, "who": "Bob", "base": None, "label": "mine"})
    assert (conflict.status, conflict.json["present"]) == (409, first)
    assert client.get("/api/notes").json["notes"]["2"] == first
    undone = client.post("/api/notes/undo", {"latent": 2, "who": "Ada", "base": first["person"]["id"]}).json
    assert undone["person"]["label"] == ""
    assert len(client.get("/api/notes/history?latent=2").json["revisions"]) == 2
    forged = client.post("/api/notes", {"latent": 3, "who": "Ada", "base": None, "by": "machine"}).json
    assert forged["machine"] is None


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b'"x"', b"\xff\xfe", b"{}", b'{"latent": 999, "who": "A"}', b'{"latent": 1e9, "who": "A"}', b"[" * 60_000],  # noqa: E501
)  # fmt: skip
def test_bad_bodies_are_answered_in_plain_words(client: Client, body: bytes) -> None:
    for path in ("/api/notes", "/api/notes/undo", "/api/review/start", "/api/review/next", "/api/review/answer"):
        answer = client.post(path, body)
        assert answer.status == 400
        assert set(answer.json) == {"error"}


def test_marks_of_a_label_are_its_concepts_and_genes(client: Client, place: Path) -> None:
    atlas = open_atlas(place / "atlas")
    kinds = atlas.concepts.obs["cell type"]
    cells = np.flatnonzero(kinds == "CD19+ B cells").astype("<u4")
    found = client.post("/api/marks", cells.tobytes()).json
    assert found["n"] == len(cells)
    assert found["concepts"][0]["latent"] % 8 == 1
    symbols = atlas.expression.var["symbol"].tolist()
    assert {symbols[row["gene"]] for row in found["genes"][:4]} <= {"CD79A", "MS4A1", "CD79B", "CD74", "HLA-DRA", "BANK1", "TCL1A", "CD37"}  # fmt: skip  # noqa: E501
    assert client.post("/api/marks?of=concepts", cells.tobytes()).json["genes"] is None
    for bad in (b"", b"123", np.array([0, 1, 10**6], "<u4").tobytes()):
        assert client.post("/api/marks", bad).status == 400


def test_ten_writers_at_once_lose_no_note(client: Client, place: Path) -> None:
    def work(number: int) -> None:
        for turn in range(5):
            while True:
                state = client.get("/api/notes").json["notes"].get("5", {"person": None})
                base = state["person"]["id"] if state["person"] else None
                note = {"latent": 5, "who": f"w{number}", "base": base, "label": f"{number}/{turn}"}
                answer = client.post("/api/notes", note)
                assert answer.status in (200, 409), answer
                if answer.status == 200:
                    break

    threads = [threading.Thread(target=work, args=(i,)) for i in range(10)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    labels = [r["label"] for r in client.get("/api/notes/history?latent=5").json["revisions"]]
    assert sorted(labels) == sorted(f"{i}/{turn}" for i in range(10) for turn in range(5))


def test_a_port_that_is_taken_is_passed_over_and_said() -> None:
    said: list[str] = []
    with listen("127.0.0.1", 0, said.append) as first:
        port = first.getsockname()[1]
        with listen("127.0.0.1", port, said.append) as second:
            assert port < second.getsockname()[1] <= port + 50
    assert said == [f"port {port} is taken, so it is {second_port(said)}"]


def second_port(said: list[str]) -> int:
    return int(said[0].rsplit(" ", 1)[1])


def test_what_cannot_be_served_is_said(place: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the page is not built"):
        serve(place / "atlas", 0, open_browser=False, notes=tmp_path / "n.sqlite", page_folder=tmp_path)
    with pytest.raises(InputError, match="lies in the atlas"):
        serve(place / "atlas", 0, notes=place / "atlas" / "n.sqlite", page_folder=place / "page")
    with pytest.raises(InputError, match="no such address"):
        listen("no.such.host.invalid", 0, print)
    with pytest.raises(InputError, match="cannot listen"):
        listen("192.0.2.1", 8765, print)
    with pytest.raises(InputError, match="ports run"):
        listen("127.0.0.1", 70_000, print)


def test_the_link_holds_the_token() -> None:
    assert address_of("127.0.0.1", 9, None) == "http://127.0.0.1:9/"
    assert address_of("::1", 9, "t") == "http://[::1]:9/?token=t"
    assert address_of("0.0.0.0", 9, "t") == f"http://{socket.gethostname()}:9/?token=t"  # noqa: S104


def test_a_damaged_atlas_is_said_to_be_one(place: Path, tmp_path: Path) -> None:
    make_atlas(tmp_path / "atlas", n_cells=60, n_concepts=9)
    with running(tmp_path / "atlas", place / "page", tmp_path / "n.sqlite") as client:
        for chunk in (tmp_path / "atlas" / "expression.zarr" / "X" / "data" / "c").iterdir():
            chunk.write_bytes(b"damaged")
        answer = client.get("/data/expression/3.bin")
        assert answer.status == 500  # whoever asks did nothing wrong
        assert "cannot be read" in json.loads(answer.body)["error"]
        assert client.get("/data/concepts.json").status == 200

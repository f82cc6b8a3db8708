"""Attacks over raw HTTP, on every route, and on the atlas behind it: refused in words, and the server goes on."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cellglass.atlas.read import open_atlas
from cellglass.explorer.app import changed_parts
from live import Client, make_page, running

READS = ["/api/notes", "/api/notes/history?latent=1", "/api/review", "/api/review/item?session=x&rater=a&code=0",
         "/api/review/activation?session=x&rater=a&code=0", "/api/review/results?session=x", "/",
         "/data/manifest.json", "/data/cards/0.json", "/assets/index-Bx3kd92a.js"]  # fmt: skip
WRITES = ["/api/notes", "/api/notes/undo", "/api/marks", "/api/review/start", "/api/review/next", "/api/review/answer",
          "/api/review/end", "/api/review/results"]  # fmt: skip
FOLDERS = ["/", "/assets/", "/data/", *(f"/data/{name}/" for name in (
    "labels", "cells", "activations", "cards", "pairs", "expression", "gene-concepts", "term-concepts", "neurons"
)), *(f"{path.split('?')[0]}/" for path in READS[:6])]  # fmt: skip
CLIMBS = ["..", "%2e%2e", "..%2f..", "%2e%2e%2f%2e%2e", "%252e%252e", "%252e%252e%252f", "..%5c..", "..\\..", "..%00",
          "%c0%ae%c0%ae", "....//", "..;", ".%2e"]  # fmt: skip


@pytest.fixture(scope="module")
def place(full_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attacked")
    shutil.copytree(full_folder, folder / "atlas")
    make_page(folder / "page")
    for where in (folder, folder / "atlas", folder / "page"):
        (where / "secret.json").write_text("outside-of-it") if where != folder / "page" else None
    return folder


@pytest.fixture(scope="module")
def client(place: Path) -> Iterator[Client]:
    with running(place / "atlas", place / "page", place / "notes.sqlite") as found:
        yield found


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fail where the server logs a traceback."""
    with caplog.at_level(logging.WARNING):
        yield
    assert not [record for record in caplog.records if record.exc_info or "Traceback" in record.getMessage()]


def raw(client: Client, sent: bytes) -> bytes:
    """Send bytes as they are and return all of the answer."""
    got = b""
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as wire:
        with contextlib.suppress(ConnectionError):
            wire.sendall(sent)
        with contextlib.suppress(ConnectionError):
            while part := wire.recv(1 << 16):
                got += part
    return got


def asked(client: Client, target: str, **headers: str) -> bytes:
    given = {"Host": f"127.0.0.1:{client.port}", "Connection": "close", **headers}
    lines = [f"GET {target} HTTP/1.1", *(f"{name}: {value}" for name, value in given.items())]
    return raw(client, "\r\n".join([*lines, "", ""]).encode("latin-1"))


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("climb", CLIMBS)
def test_no_route_leads_out_of_the_page_and_the_tree(client: Client, place: Path, climb: str, quiet: None) -> None:
    inside = {b"".join(path.read_bytes().split()) for path in (place / "page").rglob("*") if path.is_file()}
    for folder in FOLDERS:
        ways = ("{0}/secret.json", "{0}/{0}/secret.json", "{0}/{0}/{0}/{0}/{0}/etc/passwd", "x/{0}")
        for target in (folder + way.format(climb) for way in ways):
            answer = asked(client, target)
            assert status(answer) in (400, 404), target
            assert b"outside-of-it" not in answer
            assert b"root:" not in answer
            assert not any(text in b"".join(answer.split()) for text in inside)


@pytest.mark.parametrize(
    "target",
    [
        "//etc/passwd", "/%2fetc%2fpasswd", "/etc/passwd", "/C:/Windows/win.ini", "/data/%2fetc%2fpasswd",
        "/data/C:%5cx.json", "/data/cards/%00.json", "/data/manifest.json%00.bin", "/data/manifest.json\\", "/\\secret",
        "/data/cards/0.json%20", "/%64ata%2fmanifest.json/..", "http://evil.example/data/x", "/atlas/manifest.json",
        "/manifest.json", "/annotations.sqlite", "/concepts.zarr/zarr.json", "/data/concepts.zarr", "*", "secret.json",
        "/data/~root", "/data/$HOME", "/data/con.json", "/data/cards/0.json::$DATA", "/?/../secret.json/../x?", "/%",
        "/data/%ff%fe", "/" + "a" * 60_000, "/" + "../" * 9000,
    ],
)  # fmt: skip
def test_strange_targets_find_nothing(client: Client, target: str, quiet: None) -> None:
    answer = asked(client, target)
    head, _, body = answer.partition(b"\r\n\r\n")
    if target.startswith("/?"):  # a question to the first page
        assert status(answer) == 200
        return
    assert status(head) in (400, 404), head
    assert b"outside-of-it" not in body
    assert client.get("/api/notes").status == 200


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1:1", "[::1]", "0.0.0.0", "0:0"])  # noqa: S104
def test_no_route_answers_to_a_foreign_name(client: Client, host: str, quiet: None) -> None:
    host = host if ":" in host else f"{host}:{client.port}"
    for path in READS:
        assert client.ask("GET", path, headers={"Host": host}).status == 421, path
    for path in WRITES:
        sent = {"Host": host, "Origin": f"http://{host}"}  # as after a name that was made to point here
        assert client.ask("POST", path, b"{}", sent).status == 421, path
    assert status(raw(client, b"GET / HTTP/1.1\r\n\r\n")) in (400, 421)
    twice = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nHost: {host}\r\n\r\n"
    assert status(raw(client, twice.encode())) in (400, 421)


@pytest.mark.parametrize("path", WRITES)
def test_no_write_is_taken_from_elsewhere(client: Client, path: str, quiet: None) -> None:
    body = json.dumps({"latent": 1, "who": "evil", "base": None, "label": "evil", "concept": 3}).encode()
    here = f"http://127.0.0.1:{client.port}"
    for headers in (
        {"Origin": None}, {"Origin": ""}, {"Origin": "null"}, {"Origin": "http://evil.example"},
        {"Origin": here + "0"}, {"Origin": here + "/"}, {"Origin": here.replace("http:", "https:")},
        {"Origin": here, "Sec-Fetch-Site": "cross-site"}, {"Origin": f"{here}, {here}"},
    ):  # fmt: skip
        answer = client.ask("POST", path, body, headers)
        assert (answer.status, set(answer.json)) == (403, {"error"}), headers
    for method in ("PUT", "PATCH", "DELETE", "OPTIONS"):
        assert client.ask(method, path, None, {"Origin": "http://evil.example"}).status == 405
    assert client.get("/api/notes").json == {"notes": {}}
    assert client.get("/api/review").json["sessions"] == []


@pytest.mark.parametrize("path", WRITES)
def test_whoever_is_refused_can_read_why(client: Client, path: str, quiet: None) -> None:
    """A client that sends slowly what will be refused reads the whole answer, and no reset."""
    for size, headers, wanted in [(200_000, "", 413), (60_000, "Origin: http://evil.example\r\n", 403)]:
        own = headers or f"Origin: http://127.0.0.1:{client.port}\r\n"
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\n{own}Content-Length: {size}\r\n\r\n"
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as wire:
            wire.sendall(head.encode())
            for _ in range(4):
                time.sleep(0.01)
                wire.sendall(b"x" * (size // 4))
            got = b""
            while part := wire.recv(1 << 16):
                got += part
        assert status(got) == wanted
        assert "error" in json.loads(got.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("path", WRITES)
def test_an_endless_body_is_refused_while_it_arrives(client: Client, path: str, quiet: None) -> None:
    own = f"Host: 127.0.0.1:{client.port}\r\nOrigin: http://127.0.0.1:{client.port}\r\n"
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as wire:
        wire.sendall(f"POST {path} HTTP/1.1\r\n{own}Transfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(5):
            wire.sendall(b"8000\r\n" + b"x" * 0x8000 + b"\r\n")
        assert status(wire.recv(4096)) == 413  # although the body never ends
    for length in ("9" * 19, "9" * 400, "65537"):
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as wire:
            wire.sendall(f"POST {path} HTTP/1.1\r\n{own}Content-Length: {length}\r\n\r\n".encode())
            assert status(wire.recv(4096)) in (400, 413)
    both = f"{own}Connection: close\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert status(raw(client, f"POST {path} HTTP/1.1\r\n{both}".encode())) >= 400
    assert client.get("/api/notes").status == 200


def test_a_body_where_none_belongs_is_refused(client: Client, quiet: None) -> None:
    for path in READS:
        assert client.ask("GET", path, b"x" * 10, {"Content-Length": "10"}).status == 413


@pytest.mark.parametrize("path", WRITES)
@pytest.mark.parametrize(
    "body",
    [b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"[" * 60_000, b'{"latent":' + b"9" * 60_000 + b"}", b"\xff" * 1001,
     b'{"session": "' + b"\\ud800" * 1000 + b'"}'],
)  # fmt: skip
def test_deep_and_strange_json_is_refused_in_words(client: Client, path: str, body: bytes, quiet: None) -> None:
    answer = client.post(path, body)
    assert (answer.status, set(answer.json)) in [(400, {"error"}), (413, {"error"})]
    assert len(answer.body) < 2000


def spoil(folder: Path, what: str) -> None:
    """Damage a part of an atlas."""
    if what == "a bit":
        chunks = sorted((folder / "concepts.zarr" / "X" / "data" / "c").iterdir())
        content = bytearray(chunks[0].read_bytes())
        content[len(content) // 2] ^= 16
        chunks[0].write_bytes(bytes(content))
    elif what == "a chunk cut short":
        for chunk in (folder / "concepts.zarr" / "X" / "indices" / "c").iterdir():
            chunk.write_bytes(chunk.read_bytes()[:-7])
    elif what == "a chunk gone":
        for chunk in (folder / "concepts.zarr" / "X" / "data" / "c").iterdir():
            chunk.unlink()
    elif what == "a table cut short":
        content = (folder / "genes.parquet").read_bytes()
        (folder / "genes.parquet").write_bytes(content[: len(content) // 2])
    elif what == "junk for a table":
        (folder / "pathways.parquet").write_bytes(b"PAR1" + b"\0" * 100 + b"PAR1")
    elif what == "junk for metrics":
        (folder / "evaluation.json").write_text('[{"metric": ')
    else:
        (folder / "expression.zarr" / "X" / "zarr.json").write_text("{")


@pytest.mark.parametrize(
    ("what", "fails", "works"),
    [
        ("a chunk cut short", "data/activations/0.bin", "data/genes.json"),
        ("a chunk gone", "data/activations/0.bin", "data/expression/0.bin"),
        ("a table cut short", "data/cards/0.json", "data/activations/0.bin"),
        ("junk for a table", "data/terms.json", "data/labels/0.bin"),
        ("junk for metrics", "data/manifest.json", "data/concepts.json"),
        ("junk for counts", "data/expression/0.bin", "data/activations/0.bin"),
    ],
)
def test_a_damaged_atlas_is_told_in_words_and_the_rest_goes_on(
    full_folder: Path, place: Path, tmp_path: Path, what: str, fails: str, works: str, quiet: None
) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    spoil(folder, what)
    with running(folder, place / "page", tmp_path / "n.sqlite") as client:
        for _ in range(2):
            answer = client.get(f"/{fails}")
            assert answer.status == 500
            assert set(answer.json) == {"error"}
            assert "again" in answer.json["error"]
            assert "Traceback" not in answer.json["error"]
            assert "\n" not in answer.json["error"]
            assert client.get(f"/{works}").status == 200
        assert client.get("/").status == client.get("/api/notes").status == 200
        marks = client.post("/api/marks", np.arange(50, dtype="<u4").tobytes())
        assert (marks.status == 500) is ("chunk cut" in what or "counts" in what or "gone" in what)
    assert changed_parts(open_atlas(folder)) != []


@pytest.mark.parametrize("seed", range(8))
def test_a_bit_that_fell_over_is_told_or_at_least_found(
    full_folder: Path, tmp_path: Path, seed: int, quiet: None
) -> None:
    """A flipped bit need not make a file unreadable; nothing but the checksums finds it then."""
    from cellglass.errors import DamagedError
    from cellglass.explorer import Tree

    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    rng = np.random.default_rng(seed)
    chunks = sorted(path for path in (folder / "concepts.zarr").rglob("c/*") if path.is_file())
    chosen = chunks[rng.integers(len(chunks))]
    content = bytearray(chosen.read_bytes())
    content[rng.integers(len(content))] ^= 1 << int(rng.integers(8))
    chosen.write_bytes(bytes(content))
    tree = Tree(open_atlas(folder))
    for path in [
        "data/manifest.json",
        "data/concepts.json",
        "data/xy.bin",
        "data/activations/0.bin",
        "data/labels/0.bin",
    ]:
        with contextlib.suppress(DamagedError):
            assert tree.get(path)
    assert changed_parts(open_atlas(folder)) == [folder / "concepts.zarr"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "manifest.json"), ("[]", "no schema_version"), ('{"schema_version": 99}', "update with"),
        ('{"schema_version": 1, "stages": {"a": 3}}', "has no state"), ("\0\xff", "manifest.json"),
    ],
)  # fmt: skip
def test_a_manifest_of_junk_ends_the_command_with_one_line(
    command: Any, full_folder: Path, tmp_path: Path, content: str, says: str
) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    (folder / "manifest.json").write_text(content, encoding="latin-1")
    status, _, error = command("explore", folder, "--no-browser", "--port", "0")
    assert status == 2
    assert says in error
    assert error.count("\n") == 1
    assert "Traceback" not in error


def test_a_wrong_checksum_is_said_and_the_atlas_is_shown_all_the_same(full_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(full_folder, tmp_path / "atlas"))
    manifest = json.loads((folder / "manifest.json").read_text())
    assert changed_parts(open_atlas(folder)) == []
    manifest["stages"]["all"]["outputs"]["genes.parquet"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert changed_parts(open_atlas(folder)) == [folder / "genes.parquet"]

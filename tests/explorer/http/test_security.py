"""Attacks on a real server, over raw HTTP, each refused."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cellglass.explorer.http.security import authorities, cookie_name, is_loopback
from live import Client, make_page, running
from synthetic import make_atlas

TOKEN = "a-token-of-the-test"  # noqa: S105


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("attacked")
    make_atlas(folder / "atlas", n_cells=60, n_concepts=9)
    make_page(folder / "page")
    (folder / "secret.json").write_text("secret")
    (folder / "page" / "link.json").symlink_to(folder / "secret.json")
    (folder / "page" / ".hidden").write_text("secret")
    return folder


@pytest.fixture(scope="module")
def client(place: Path) -> Iterator[Client]:
    with running(place / "atlas", place / "page", place / "notes.sqlite") as found:
        yield found


@pytest.fixture(scope="module")
def guarded(place: Path) -> Iterator[Client]:
    with running(place / "atlas", place / "page", place / "guarded.sqlite", token=TOKEN) as found:
        yield found


CLIMBS = [
    *("..", "%2e%2e", "..%2f", "..%5c", "%252e%252e", ".%2e", "%c0%ae%c0%ae", "..%00", "....//", "..;"),
]


@pytest.mark.parametrize(
    "route", ["/", "/assets/", "/data/", "/data/cards/", "/data/activations/", "/api/", "/api/review/"]
)
@pytest.mark.parametrize("climb", CLIMBS)
def test_no_path_leads_out(client: Client, route: str, climb: str) -> None:
    for path in (
        f"{route}{climb}/secret.json",
        f"{route}{climb}/{climb}/secret.json",
        f"{route}{climb}%2f{climb}%2fsecret.json",
    ):
        answer = client.get(path)
        assert answer.status in (400, 404), path
        assert b"secret" not in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "//etc/passwd", "/%2fetc%2fpasswd", "/data//etc/passwd", "/link.json", "/.hidden", "/data/manifest.json%00",
        "/data/manifest.json/", "/data", "/data/", "/data/../manifest.json", "/data/x/../manifest.json",
        "/data/cards/-1.json", "/data/cards/9999.json", "/data/cards/0.json.bin", "/data/activations/00.bin",
        "/api", "/api/nothing", "/index.html/x", "/data/" + "a" * 5000,
    ],
)  # fmt: skip
def test_strange_paths_are_not_there(client: Client, path: str) -> None:
    assert client.get(path).status == 404


def test_all_answers_forbid_inline_code_sniffing_and_frames(client: Client) -> None:
    for path in ("/", "/data/manifest.json", "/api/notes", "/nothing", "/api/notes/history?latent=x"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", "", "127.0.0.1:{port}, evil.example"])  # fmt: skip  # noqa: E501
def test_a_foreign_host_gets_nothing(client: Client, host: str) -> None:
    for path in ("/", "/data/manifest.json", "/api/notes"):
        answer = client.ask("GET", path, headers={"Host": host.format(port=client.port)})
        assert answer.status in (400, 421)
        assert b"synthetic" not in answer.body


def test_own_names_are_answered(client: Client) -> None:
    for host in (f"localhost:{client.port}", f"LOCALHOST:{client.port}", f"[::1]:{client.port}"):
        assert client.ask("GET", "/", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": None},
        {"Origin": "null"},
        {"Origin": "http://evil.example"},
        {"Origin": "http://127.0.0.1:1"},
        {"Origin": "https://127.0.0.1:{port}"},
        {"Origin": "http://localhost:{port}"},
        {"Origin": "http://127.0.0.1:{port}.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
@pytest.mark.parametrize(
    "path", ["/api/notes", "/api/notes/undo", "/api/marks", "/api/review/start", "/api/review/answer"]
)
def test_writes_from_elsewhere_are_refused(client: Client, path: str, headers: dict[str, str | None]) -> None:
    sent = {name: value and value.format(port=client.port) for name, value in headers.items()}
    note = json.dumps({"latent": 1, "who": "evil", "base": None, "label": "evil"}).encode()
    assert client.ask("POST", path, note, sent).status == 403
    assert client.get("/api/notes").json == {"notes": {}}


def test_other_pages_cannot_read_but_a_link_may_lead_here(client: Client) -> None:
    assert client.get("/api/notes", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="no-cors").status == 403
    assert client.get("/data/manifest.json", Origin="http://evil.example").status == 403
    answer = client.get("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="document")
    assert answer.status == 200
    frame = client.get("/", Sec_Fetch_Site="cross-site", Sec_Fetch_Mode="navigate", Sec_Fetch_Dest="iframe")
    assert frame.status == 403


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND"])
def test_other_methods_are_not_answered(client: Client, method: str) -> None:
    assert client.ask(method, "/api/notes").status in (400, 405)


def test_a_large_body_is_refused_by_its_length_before_it_is_sent(client: Client) -> None:
    for path, length in [
        ("/api/notes", "65537"),
        ("/api/marks", "241"),
        ("/api/notes", "9" * 30),
        ("/api/notes", "-1"),
    ]:
        answer = client.ask("POST", path, None, {"Content-Length": length})
        assert answer.status in (400, 413)
        assert "error" in answer.json if answer.status == 413 else True


def test_a_large_body_without_length_is_refused_while_it_arrives(client: Client) -> None:
    head = (
        f"POST /api/notes HTTP/1.1\r\nHost: 127.0.0.1:{client.port}\r\nOrigin: http://127.0.0.1:{client.port}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    got = b""
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as raw:
        raw.sendall(head.encode())
        sent = 0
        with contextlib.suppress(ConnectionError):
            while sent < 64 << 20:  # never the end of it: the answer comes all the same
                raw.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                sent += 0x4000
        with contextlib.suppress(ConnectionError):
            got = raw.recv(4096)
    assert sent < 64 << 20
    assert got == b"" or got.startswith(b"HTTP/1.1 413")
    assert client.get("/").status == 200


def test_without_the_token_nothing_is_given(guarded: Client) -> None:
    cookie = cookie_name(f"127.0.0.1:{guarded.port}")
    for path in ("/", "/data/manifest.json", "/api/notes", "/assets/index-Bx3kd92a.js"):
        for wrong in (path, f"{path}?token=", f"{path}?token={TOKEN}x", f"{path}?token={TOKEN}&token={TOKEN}"):
            assert guarded.get(wrong).status == 403
        assert guarded.get(path, Cookie=f"{cookie}=wrong").status == 403
        assert guarded.get(path, Cookie=f"other={TOKEN}").status == 403
    assert guarded.post(f"/api/notes?token={TOKEN}", {}).status == 403


def test_the_link_moves_the_token_into_a_cookie_that_scripts_cannot_read(guarded: Client) -> None:
    answer = guarded.get(f"/?token={TOKEN}")
    assert answer.status == 200
    cookie, *flags = answer.headers["set-cookie"].split("; ")
    assert {"SameSite=Strict", "HttpOnly", "Path=/"} <= set(flags)
    assert guarded.get("/data/manifest.json", Cookie=f"theme=dark; {cookie}").status == 200
    note = {"latent": 1, "who": "Ada", "base": None, "label": "x"}
    assert guarded.post("/api/notes", note, {"Cookie": cookie}).status == 200
    assert "set-cookie" not in guarded.get("/", Cookie=cookie).headers


def test_a_refusal_is_plain_words_and_never_markup_from_the_request(guarded: Client) -> None:
    page = guarded.get("/<script>?token=<script>alert(1)</script>", Accept="text/html")
    assert page.status in (400, 403)
    assert b"<script" not in page.body
    assert guarded.get("/api/notes").json["error"].startswith("the link lacks the right token")


def test_which_names_are_this_server() -> None:
    assert authorities("127.0.0.1", 9) == {"localhost:9", "127.0.0.1:9", "[::1]:9"}
    assert authorities("10.0.0.7", 9) == {"10.0.0.7:9"}
    assert authorities("lab.example", 80) == {"lab.example:80", "lab.example"}
    assert authorities("127.0.0.1", 9) < authorities("0.0.0.0", 9)  # noqa: S104
    assert [is_loopback(host) for host in ("127.9.9.9", "::1", "localhost", "0.0.0.0", "evil")] == [True] * 3 + [  # noqa: S104
        False
    ] * 2

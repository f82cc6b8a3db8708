"""What the tests of the live explorer share: a stand-in for the page, a real server on loopback, raw HTTP."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn

from cellglass.atlas.read import open_atlas
from cellglass.explorer.app import SETTINGS, listen, make_app
from cellglass.explorer.data.tree import Tree
from cellglass.explorer.http.security import authorities
from cellglass.explorer.notes.place import open_notes

INDEX = (
    '<!doctype html><title>cellglass</title><meta http-equiv="Content-Security-Policy" content="none" />'
    '<script type="module" crossorigin src="./assets/index-Bx3kd92a.js"></script>'
    '<link rel="stylesheet" crossorigin href="./assets/index.css"><body>' + "<p>words</p>" * 200 + "</body>"
)


def make_page(folder: Path) -> Path:
    (folder / "assets").mkdir(parents=True, exist_ok=True)
    (folder / "index.html").write_text(INDEX)
    (folder / "favicon.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (folder / "assets" / "index.css").write_text("p { color: red }")
    (folder / "assets" / "index-Bx3kd92a.js").write_text("export const answer = 42\n" * 100)
    return folder


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Raw HTTP to a port: paths go out as they are written."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        given = {"Host": f"127.0.0.1:{self.port}"}
        if method == "POST":
            given |= {"Origin": f"http://127.0.0.1:{self.port}", "Content-Length": str(len(body or b""))}
        given |= headers or {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in given.items():
                if value is not None:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            response = connection.getresponse()
            return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})

    def post(self, path: str, value: Any, headers: dict[str, str] | None = None) -> Answer:
        return self.ask("POST", path, value if isinstance(value, bytes) else json.dumps(value).encode(), headers)


@contextmanager
def running(folder: Path, page: Path, notes: Path, *, with_atlas: bool = True, **options: Any) -> Iterator[Client]:
    """Run the real application under uvicorn in a thread, on a free port of loopback."""
    atlas = open_atlas(folder)
    with open_notes(atlas, notes) as kept, listen("127.0.0.1", 0, print) as sock:
        port = sock.getsockname()[1]
        app = make_app(
            Tree(atlas, live=True),
            page,
            kept,
            atlas=atlas if with_atlas else None,
            allowed_hosts=authorities("127.0.0.1", port),
            **options,
        )
        server = uvicorn.Server(uvicorn.Config(app, **SETTINGS))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield Client(port)
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()

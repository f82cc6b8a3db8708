"""The live explorer: one tree of files, notes, marks and reviews, served to a browser on this machine.

`make_app` is the whole application and `serve` runs it. Each request passes `security.Guard` first. Files are made in
threads, so that a large one never holds up a note. The atlas is read alone.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import re
import secrets
import socket
import threading
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from cellglass.errors import InputError

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from cellglass.atlas.columns import Array
    from cellglass.atlas.read import Atlas
    from cellglass.explorer.http.security import App
    from cellglass.explorer.notes.store import Notes
    from cellglass.explorer.trying.bench import Bench, Given

log = logging.getLogger(__name__)
PORT = 8765
PORTS_TRIED = 50
_NOT_OURS = (errno.EADDRNOTAVAIL,)  # the address is no address of this machine, at any port
MOST_CELLS = 1 << 24
PAGE = Path(__file__).parent / "page"
_LASTING = re.compile(r"assets/.*-[A-Za-z0-9_-]{8,}\.[a-z0-9]+\Z")


class TreeLike(Protocol):
    """What the server needs of `cellglass.explorer.data.tree.Tree`; several threads ask it at once."""

    def get(self, path: str) -> bytes:
        """Return a file of the tree, or raise KeyError."""

    def warm(self) -> None:
        """Make what takes seconds and many files share."""


def make_app(
    tree: TreeLike,
    page_folder: Path | str,
    notes: Notes,
    *,
    atlas: Atlas | None = None,
    token: str | None = None,
    allowed_hosts: Collection[str],
    pack: bool = False,
    beside: Sequence[Callable[[], None]] = (),
    bench: Bench | None = None,
) -> App:
    """Return the application, an ASGI callable behind `security.Guard`.

    Parameters
    ----------
    tree : Tree
        Files below ``data/``.
    page_folder
        The page as Vite built it.
    notes : Notes
        Where notes and ratings go.
    atlas : Atlas, optional
        Marks and reviews need it; without it they are not there.
    token : str, optional
        Where it is given, every request needs it.
    allowed_hosts : collection of str
        Values of the Host header that are answered; see `security.authorities`.
    pack : bool
        Whether text is gzipped.
    beside : sequence of callables
        What else is done in the thread that makes beside the server what takes seconds, after it.
    bench : Bench, optional
        The model in which changes to circuits are tried; without it the page says how to have it.
    """
    from starlette.applications import Starlette
    from starlette.routing import Route

    from cellglass.explorer.http import answers
    from cellglass.explorer.http.replies import Threads, answer_json, refuse
    from cellglass.explorer.http.security import Guard
    from cellglass.explorer.notes import api

    page, makes = answers.page_files(page_folder), answers.Answers(pack=pack)
    heavy, light = Threads(2), Threads(4)
    routes, limits = [*api.notes_routes(notes, light)], dict[str, int]()
    if atlas is not None:
        from cellglass.explorer.trying.api import try_routes

        more, limits, prepare = _atlas_routes(atlas, tree, notes, light, shared=token is not None)
        routes, beside = [*routes, *more, *try_routes(bench, light)], [tree.warm, prepare, *beside]
    threading.Thread(target=_prepared, args=(beside,), name="cellglass-beside", daemon=True).start()

    def file(request: Request) -> Response:
        path = request.path_params["path"]
        if answers.is_tree_path(path):
            try:
                content = tree.get(path)
            except KeyError:
                return answer_json({"error": "the atlas has no such file"}, 404)
            return makes.answer(request, answers.Found(path, content, lasting=False))
        place = page.get(path or "index.html")
        if place is None:
            return answer_json({"error": "there is nothing at that address"}, 404)
        return makes.answer(request, answers.Found(place.name, place.read_bytes(), bool(_LASTING.match(path))))

    async def any_file(request: Request) -> Response:
        return await heavy.do(file, request)

    return Guard(
        Starlette(
            routes=[*routes, Route("/{path:path}", any_file, methods=["GET"])],
            exception_handlers={
                **dict.fromkeys((InputError, 404, 405, 500), refuse),
                **dict.fromkeys(api.FAILURES, api.refuse),
            },
        ),
        allowed_hosts,
        token,
        limits,
    )


def _atlas_routes(
    atlas: Atlas, tree: TreeLike, notes: Notes, light: Any, *, shared: bool
) -> tuple[list[Any], dict[str, int], Callable[[], None]]:
    """Return routes, the largest bodies that some of them take, and what makes the first answer a quick one."""
    from cellglass.atlas.markers.rank_sum import Marker
    from cellglass.explorer.http.marks import marks_routes
    from cellglass.explorer.http.replies import Threads
    from cellglass.explorer.review.api import review_routes
    from cellglass.explorer.review.items import Evidence
    from cellglass.explorer.selections.api import most_bytes, selection_routes
    from cellglass.explorer.selections.store import Selections

    @cache
    def selections() -> Selections:
        told = json.loads(tree.get("data/cells-id.json"))
        return Selections(notes, told["cells"], told["n"])

    marker = Marker(atlas)
    limits = {"/api/marks": 4 * min(marker.n_cells, MOST_CELLS), "/api/selections": most_bytes(marker.n_cells)}
    marks = marks_routes(marker, atlas.latents, Threads(1), lambda name: _label_codes(tree, name))
    review = review_routes(notes, Evidence(atlas, tree, marker), light, Threads(1), shared=shared)
    return [*marks, *review, *selection_routes(selections, light)], limits, marker.prepare


def _label_codes(tree: TreeLike, name: str) -> Array:
    """Return the number of each cell's value of a label, 0 for none."""
    import numpy as np

    for label in json.loads(tree.get("data/manifest.json"))["labels"]:
        if label["name"] == name and label["kind"] == "category":
            return np.frombuffer(tree.get(label["file"]), np.dtype(label["type"]).newbyteorder("<"))
    raise InputError(f"donors: the cells have no label of categories called {name!r}")


def _prepared(pieces: Iterable[Callable[[], None]]) -> None:
    for piece in pieces:  # one after the other, so that whoever opens the page has a processor too
        try:
            piece()
        except Exception as error:  # whoever asks for it is told; nobody else need know
            log.warning("a part of the atlas cannot be prepared: %s", error)


def _tell_changed(atlas: Atlas, tell: Callable[[str], None]) -> None:
    for place in changed_parts(atlas):
        tell(f"{place}: its contents changed since it was written, so what is shown of it may be wrong")


def changed_parts(atlas: Atlas) -> list[Path]:
    """Return the parts of an atlas whose checksum is not the manifest's: a bit that fell over is seen by nothing else.

    Parts that are not there, that only the pipeline needs, and the report are left out.
    """
    from cellglass.atlas.manifest import artefact_digest, outputs_of
    from cellglass.atlas.schema import REPORT, WORK

    changed = []
    for name, digest in outputs_of(atlas.manifest).items():
        place = atlas.path / name
        if name.startswith(WORK) or name == REPORT or not place.exists():
            continue
        try:
            same = artefact_digest(place) == digest
        except OSError:
            same = False
        if not same:
            changed.append(place)
    return changed


def listen(host: str, port: int, tell: Callable[[str], None]) -> socket.socket:
    """Return a listening socket on the first free port from `port` on; 0 takes any. `tell` hears if it is another.

    Raises
    ------
    InputError
        If the host is not this machine's, or no port is free.
    """
    if not 0 <= port <= 65535:
        raise InputError(f"--port {port}: ports run from 0 to 65535")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError):
        raise InputError(f"--host {host}: there is no such address; leave it out for this machine alone") from None
    tries = [0] if port == 0 else range(port, min(port + PORTS_TRIED, 65536))
    for number in tries:
        taken = socket.socket(family, socket.SOCK_STREAM)
        try:
            if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
            else:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((address[0], number, *address[2:]))
            taken.listen(128)
        except OSError as error:
            taken.close()
            if number == tries[-1] or error.errno in _NOT_OURS:
                raise InputError(
                    f"--host {host}: cannot listen at port {number} ({error.strerror}); name another"
                ) from error
            continue
        if port and number != port:
            tell(f"port {port} is taken, so it is {number}")
        return taken
    raise InputError(f"--port {port}: no free port")


def serve(
    atlas_folder: Path | str,
    port: int = PORT,
    host: str = "127.0.0.1",
    open_browser: bool = True,
    notes: Path | str | None = None,
    *,
    given: Given | None = None,
    tell: Callable[[str], None] = log.info,
    page_folder: Path | str = PAGE,
) -> None:
    """Serve the atlas in `atlas_folder` until it is interrupted.

    Parameters
    ----------
    port : int
        The first port to try; 0 takes any that is free.
    host : str
        Where to listen. Anywhere but on loopback a token is needed, which the link holds.
    open_browser : bool
        Whether to show the page once it can be had.
    notes
        The file of notes; None takes the atlas's own (`notes_place.notes_path`).
    given : Given, optional
        The model, transcoders and cells in which changes to circuits are tried; they are opened at the first try.
    tell : callable
        Told, line by line, what the user should read: the link above all.

    Raises
    ------
    InputError
        No atlas, no port, or a model, transcoders or cells that are not there or do not fit.
    """
    import uvicorn

    from cellglass.atlas.read import open_atlas
    from cellglass.explorer.data.tree import Tree
    from cellglass.explorer.http.security import authorities, is_loopback
    from cellglass.explorer.notes.place import open_notes

    atlas, bench = open_atlas(atlas_folder), None
    if given is not None:
        from cellglass.explorer.trying.bench import Bench

        bench = Bench(atlas, given)
        bench.check()
    with contextlib.closing(open_notes(atlas, notes)) as kept, contextlib.closing(listen(host, port, tell)) as sock:
        number = sock.getsockname()[1]
        tree = Tree(atlas, live=True)
        token = None if is_loopback(host) else secrets.token_urlsafe(24)
        app = make_app(
            tree,
            page_folder,
            kept,
            atlas=atlas,
            token=token,
            allowed_hosts=authorities(host, number),
            pack=token is not None,
            beside=[lambda: _tell_changed(atlas, tell)],
            bench=bench,
        )
        link = address_of(host, number, token)
        tell(f"the explorer is at {link}")
        tell(f"notes are kept in {kept.path}")
        tell("stop it with Ctrl-C")
        server = uvicorn.Server(uvicorn.Config(app, **SETTINGS))
        if open_browser:
            _open_when_ready(server, link)
        with contextlib.suppress(KeyboardInterrupt):
            server.run(sockets=[sock])


SETTINGS: dict[str, Any] = {
    "log_config": None,
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,
    "lifespan": "off",
    "ws": "none",
    "http": "h11",
    "limit_concurrency": 512,
    "timeout_keep_alive": 30,
    "timeout_graceful_shutdown": 3,
}
"""How uvicorn runs it: nothing is believed of a proxy, nothing is said of the server."""


def address_of(host: str, port: int, token: str | None) -> str:
    """Return the link to a server."""
    name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)  # noqa: S104
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + (f"?token={token}" if token else "")


def _open_when_ready(server: Any, link: str) -> None:
    def wait() -> None:
        import time
        import webbrowser

        for _ in range(600):
            if server.started:
                webbrowser.open(link)
                return
            if server.should_exit:
                return
            time.sleep(0.05)

    threading.Thread(target=wait, name="cellglass-browser", daemon=True).start()

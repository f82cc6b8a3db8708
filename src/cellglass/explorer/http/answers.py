"""Answers with a file: which paths there can be, their types, ETag, cache and gzip.

The page's files are listed once; a path that is not in the list does not exist, so none leads out of the folder. Paths
of the tree are plain names below ``data/`` and mean nothing to the file system. It knows nothing of who asks.
"""

from __future__ import annotations

import gzip
import hashlib
import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from cellglass.errors import InputError

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".woff2": "font/woff2",
    ".txt": "text/plain; charset=utf-8",
    ".bin": "application/octet-stream",
}
PACKED = {".html", ".js", ".css", ".json", ".svg", ".txt"}
"""Kinds that gzip makes much smaller; numbers as bytes it does not."""
SMALLEST_PACKED, PACKED_MEMORY = 1 << 10, 32 << 20
LARGEST_FILE = 1 << 30
_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,199}\Z")


class Found(NamedTuple):
    """A file to answer with."""

    path: str
    content: bytes
    lasting: bool
    """Whether its name holds a hash of its content, so that a browser need never ask again."""


def is_tree_path(path: str) -> bool:
    """Return whether `path` can name a file of the tree: plain names below ``data/``, no dots at their beginning."""
    parts = path.split("/")
    return 2 <= len(parts) <= 6 and parts[0] == "data" and all(_SEGMENT.match(part) for part in parts)


def page_files(folder: Path | str) -> dict[str, Path]:
    """Return the files of the page by their relative path; links are left out.

    Raises
    ------
    InputError
        If the page is not there.
    """
    folder = Path(folder)
    files = {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.suffix in TYPES
    }
    inside = {name: path for name, path in files.items() if path.resolve().is_relative_to(folder.resolve())}
    if "index.html" not in inside:
        raise InputError(f"{folder}: the page is not built; install cellglass from a wheel, or build web/ first")
    return inside


class Answers:
    """Makes answers, and remembers the packed forms of what was asked for last; any number of threads may use it.

    Parameters
    ----------
    pack : bool
        Whether to gzip; on one machine it costs more than it saves.
    """

    def __init__(self, *, pack: bool) -> None:
        self._pack = pack
        self._packed: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def answer(self, request: Request, found: Found) -> Response:
        """Return the file, or that it has not changed."""
        suffix = Path(found.path).suffix
        if len(found.content) > LARGEST_FILE:
            raise InputError(f"{found.path}: it has {len(found.content):,} bytes, too many for a browser")
        tag = hashlib.blake2b(found.content, digest_size=16).hexdigest()
        headers = {"content-type": TYPES.get(suffix, TYPES[".bin"])}
        headers["cache-control"] = "private, max-age=31536000, immutable" if found.lasting else "private, no-cache"
        content = found.content
        if self._pack and suffix in PACKED and len(content) >= SMALLEST_PACKED:
            headers["vary"] = "accept-encoding"
            if _takes_gzip(request.headers.get("accept-encoding", "")):
                content, headers["content-encoding"] = self._gzip(tag, content), "gzip"
                tag += "-gz"
        headers["etag"] = f'"{tag}"'
        known = [item.strip().removeprefix("W/") for item in request.headers.get("if-none-match", "").split(",")]
        if headers["etag"] in known or known == ["*"]:
            kept = {name: value for name, value in headers.items() if name in ("etag", "cache-control", "vary")}
            return Response(status_code=304, headers=kept)
        return Response(content, headers=headers)

    def _gzip(self, tag: str, content: bytes) -> bytes:
        with self._lock:
            if tag in self._packed:
                self._packed.move_to_end(tag)
                return self._packed[tag]
        packed = gzip.compress(content, 6 if len(content) < 1 << 20 else 1, mtime=0)
        with self._lock:
            self._packed[tag] = packed
            while sum(map(len, self._packed.values())) > PACKED_MEMORY and len(self._packed) > 1:
                self._packed.popitem(last=False)
        return packed


def _takes_gzip(accepted: str) -> bool:
    for item in accepted.lower().split(","):
        name, _, quality = item.partition(";")
        if name.strip() == "gzip":
            return quality.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False

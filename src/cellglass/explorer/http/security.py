"""Who may ask the live server for what: an ASGI middleware that stands before everything that it serves.

Checked of every request: the Host (so that a foreign name that is made to point at this machine gets nothing), where
the request comes from, the token where the server is open to other machines, and the size of the body while it
arrives. Written on every answer: a content security policy without inline code, no sniffing, no framing. It knows
nothing of atlases, notes or paths.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import html
import ipaddress
import json
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, MutableMapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

READS = ("GET", "HEAD")
WRITES = ("POST",)
SMALL_BODY = 64 << 10
BODY_SECONDS = 30.0
DRAINED_BYTES, DRAINED_SECONDS = 16 << 20, 5.0
"""How much of a body that is refused is still taken, and thrown away, so that whoever sends it reads the answer."""
POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
)


class Refusal(Exception):  # noqa: N818  # an answer, not a failure
    """A request that gets no further: the status and plain words for it."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status, self.reason = status, reason


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches a server on `host`."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def authorities(host: str, port: int) -> frozenset[str]:
    """Return the values of the Host header that mean a server which listens on `host` and `port`.

    On loopback they are this machine's own names alone. Of ``0.0.0.0`` and ``::`` they are also the machine's name and
    its addresses.
    """
    names = {"localhost", "127.0.0.1", "[::1]"}
    if not is_loopback(host):
        if host in ("0.0.0.0", "::", ""):  # noqa: S104  # compared with, not listened on
            own = socket.gethostname()
            names |= {own, socket.getfqdn(), *_addresses(own)}
        else:
            names = {host}
    elif host not in names:
        names.add(host)
    bracketed = {f"[{name}]" if ":" in name and not name.startswith("[") else name for name in names}
    return frozenset(
        form.lower() for name in bracketed for form in ((f"{name}:{port}", name) if port == 80 else (f"{name}:{port}",))
    )


def cookie_name(authority: str) -> str:
    """Return the name of the cookie that holds the token; servers on other ports have others, since cookies do not."""
    return f"cellglass-{hashlib.sha256(authority.encode()).hexdigest()[:12]}"


class Guard:
    """The middleware; see the module's docstring.

    Parameters
    ----------
    app
        What it stands before.
    hosts : collection of str
        Values of the Host header that are answered, such as ``127.0.0.1:8765``; see `authorities`.
    token : str, optional
        Where it is given, a request needs it: in the link as ``?token=``, which sets a cookie, and then in the cookie.
    limits : mapping of str to int, optional
        The largest body in bytes for a path; for any other path it is `SMALL_BODY`.
    """

    def __init__(
        self, app: App, hosts: Collection[str], token: str | None = None, limits: Mapping[str, int] | None = None
    ) -> None:
        self.app, self.token = app, token
        self.hosts = frozenset(host.lower() for host in hosts)
        self.limits = dict(limits or {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        headers, incoming = _single(scope["headers"]), _Incoming(receive)
        cookie: list[tuple[bytes, bytes]] = []
        try:
            authority = self._host(headers)
            self._origin(scope, headers, authority)
            if self._token(scope, headers, authority):
                value = f"{cookie_name(authority)}={self.token}; Path=/; SameSite=Strict; HttpOnly"
                cookie = [(b"set-cookie", value.encode())]
            body = await self._body(scope, headers, incoming)
        except Refusal as refusal:
            await _refuse(scope, incoming, _with_headers(send, []), refusal)
            return
        await self.app(scope, _replay(body, receive), _with_headers(send, cookie))

    def _host(self, headers: Mapping[bytes, bytes]) -> str:
        authority = headers.get(b"host", b"").decode("latin-1").lower()
        if authority not in self.hosts:
            raise Refusal(421, "this server does not answer to that name; open the link that cellglass printed")
        return authority

    def _origin(self, scope: Scope, headers: Mapping[bytes, bytes], authority: str) -> None:
        """Refuse writes from any other page, and reads by one, except that a link may lead here."""
        method = scope["method"]
        if method not in READS + WRITES:
            raise Refusal(405, "only GET, HEAD and POST are answered")
        here = f"{scope.get('scheme', 'http')}://{authority}".encode()
        origin, site = headers.get(b"origin"), headers.get(b"sec-fetch-site")
        if method in WRITES:
            if origin is None or origin.lower() != here or site not in (None, b"same-origin"):
                raise Refusal(403, "a write is taken only from the page of this server itself")
            return
        followed = headers.get(b"sec-fetch-mode") == b"navigate" and headers.get(b"sec-fetch-dest") == b"document"
        if (origin is not None and origin.lower() != here) or (
            site not in (None, b"same-origin", b"none") and not followed
        ):
            raise Refusal(403, "another page may not read from this server")

    def _token(self, scope: Scope, headers: Mapping[bytes, bytes], authority: str) -> bool:
        """Return whether the link holds the token, so that the cookie is to be set; refuse where neither holds it."""
        if self.token is None:
            return False
        given = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [])
        if scope["method"] in READS and len(given) == 1 and _same(given[0], self.token):
            return True
        try:
            kept = SimpleCookie(headers.get(b"cookie", b"").decode("latin-1")).get(cookie_name(authority))
        except CookieError:
            kept = None
        if kept is None or not _same(kept.value, self.token):
            raise Refusal(403, "the link lacks the right token; open the whole link that cellglass printed")
        return False

    async def _body(self, scope: Scope, headers: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """Return the body; it is refused as soon as it is known to be too large or too slow."""
        limit = self.limits.get(scope["path"], SMALL_BODY) if scope["method"] in WRITES else 0
        reason = f"the request is too large: at most {limit:,} bytes are taken here"
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or len(length) > 20 or int(length) > limit:
            raise Refusal(413, reason)
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        raise Refusal(400, "the request ended before its body did")
                    body += message.get("body", b"")
                    if len(body) > limit:
                        raise Refusal(413, reason)
                    if not message.get("more_body", False):
                        return bytes(body)
        except TimeoutError:
            raise Refusal(408, "the request took too long to arrive") from None


def _same(given: str, token: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), token.encode())


def _single(headers: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bytes]:
    """Return the headers by name; one that stands twice is joined, and so equals nothing that is allowed."""
    found: dict[bytes, bytes] = {}
    for name, value in headers:
        found[name] = found[name] + (b"; " if name == b"cookie" else b", ") + value if name in found else value
    return found


def _replay(body: bytes, receive: Receive) -> Receive:
    waiting = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> MutableMapping[str, Any]:
        return waiting.pop() if waiting else await receive()

    return again


def _with_headers(send: Send, more: list[tuple[bytes, bytes]]) -> Send:
    async def written(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), *HEADERS, *more]
        await send(message)

    return written


class _Incoming:
    """What arrives of a request, and whether all of it has."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self.ended = receive, False

    async def __call__(self) -> MutableMapping[str, Any]:
        message = await self._receive()
        self.ended = message["type"] == "http.disconnect" or not message.get("more_body", False)
        return message


async def _refuse(scope: Scope, incoming: _Incoming, send: Send, refusal: Refusal) -> None:
    """Answer in plain words: as a page where a person followed a link, else as JSON.

    A connection that is closed while a body still arrives is reset, and the answer is lost on its way. So the answer
    goes out at once, and the connection is closed when the body has ended, or enough of it was thrown away.
    """
    headers = _single(scope["headers"])
    accepts = headers.get(b"accept", b"")
    if b"text/html" in accepts:
        kind, text = "text/html; charset=utf-8", _PAGE.format(html.escape(refusal.reason))
    else:
        kind, text = "application/json", json.dumps({"error": refusal.reason})
    body = text.encode()
    told = [
        (b"content-type", kind.encode()),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        (b"connection", b"close"),
    ]
    await send({"type": "http.response.start", "status": refusal.status, "headers": told})
    shown = b"" if scope["method"] == "HEAD" else body
    await send({"type": "http.response.body", "body": shown, "more_body": True})
    if b"expect" not in headers:  # who waits for leave to send has sent nothing
        await _drain(incoming)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _drain(incoming: _Incoming) -> None:
    taken = 0
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DRAINED_SECONDS):
            while not incoming.ended and taken < DRAINED_BYTES:
                taken += len((await incoming()).get("body", b""))


_PAGE = (
    '<!doctype html><html lang="en"><title>cellglass</title><h1>cellglass</h1><p>{}.</p>'
    '<p>If you opened it before in this browser: <a href="">open it again</a>.</p></html>'
)


def _addresses(name: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(name, None)}
    except OSError:
        return set()

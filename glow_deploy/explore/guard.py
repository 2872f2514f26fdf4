"""Who may talk to the server, and what the page may do: checked before and added after everything else."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HEADERS", "Guard", "allowed_host", "host_of"]

HEADERS = {
    # Its own style sheet and script, pictures out of answers, and nothing of anyone else's.
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


class Guard:
    """ASGI middleware: refuses foreign hosts and origins, and puts `HEADERS` on every answer, of bugs too.

    Args:
        app: what is guarded.
        hosts: names and addresses besides this machine's loopback; see `ExploreSettings.hosts`.
        remedy: what whoever starts the server can do about a host that is refused.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Sequence[str] = (), remedy: str = "start it with --host to allow another"
    ) -> None:
        self._app = app
        self._hosts, self._remedy = tuple(hosts), remedy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        from starlette.datastructures import Headers, MutableHeaders
        from starlette.responses import JSONResponse

        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def send_guarded(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        headers = Headers(scope=scope)
        trouble = _trouble(headers, self._hosts, self._remedy)
        app: Any = self._app if trouble is None else JSONResponse({"error": trouble}, status_code=403)
        try:
            await app(scope, receive, send_guarded)
        except Exception as error:  # before or outside the endpoints; their own answers are `answered`'s
            if started:
                raise
            line = f"a bug in glow-deploy, please report it: {type(error).__name__}"
            await JSONResponse({"error": line}, status_code=500)(scope, receive, send_guarded)


def _trouble(headers: Any, hosts: Sequence[str], remedy: str) -> str | None:
    host = headers.get("host", "")
    if len(headers.getlist("host")) != 1 or not allowed_host(host_of(host), hosts):
        return f"this server does not answer under the name of this request; {remedy}"
    origin = headers.get("origin")
    if origin is not None and origin.partition("://")[2].lower() != host.lower():
        return "another web page asked for this; only the page itself may"
    return None


def host_of(header: str) -> str:
    """The host of a `Host` header: without its port, in lower case, and without brackets.

    Examples:
        >>> host_of("127.0.0.1:8000"), host_of("[::1]:8000"), host_of("LOCALHOST")
        ('127.0.0.1', '::1', 'localhost')
    """
    if header.startswith("["):
        inside, closed, rest = header[1:].partition("]")
        return inside.lower() if closed and (not rest or _is_port(rest)) else ""
    name, colon, port = header.partition(":")
    return name.lower() if not colon or _is_port(colon + port) else ""


def allowed_host(host: str, hosts: Sequence[str]) -> bool:
    """Tell whether a page may be asked for under this host.

    A foreign page can make the browser believe that a name of its own is this machine, but never that an address is.

    Examples:
        >>> allowed_host("127.0.0.1", ()), allowed_host("evil.example", ()), allowed_host("192.0.2.7", ("*",))
        (True, False, True)
    """
    if host == "localhost" or (host and host in (name.lower() for name in hosts if name != "*")):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or "*" in hosts


def _is_port(text: str) -> bool:
    return text[:1] == ":" and text[1:].isascii() and text[1:].isdecimal() and len(text) <= 6

"""Connections that take their time, or too many of one client: closed, so that they lock nobody else out.

uvicorn closes a connection that stays silent after an answer, and no other. One that never asks, or never takes its
answer, would keep its place for ever.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

__all__ = ["Limits", "client_of", "limited_protocol"]

_LOOK_EVERY = 0.5  # seconds
_HURRY = 2.0  # seconds to the end of the headers, of a connection that is too many


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a connection may take for what, in seconds, and how many a client may have.

    Attributes:
        head: from its begin, or the last answer, to the end of the headers.
        body: for the body of a request to arrive.
        answer: for an answer to be taken, while nothing of it is.
        each: connections of one client.
        total: connections of all; None for no bound here.
        spare: connections beyond either, which may ask for `kept` and are told of anything else that they are too many.
        kept: paths.
    """

    head: float = 10.0
    body: float = 130.0
    answer: float = 30.0
    each: int = 64
    total: int | None = None
    spare: int = 0
    kept: tuple[str, ...] = ()


def client_of(host: str) -> str:
    """Who counts as one client: an address, or of IPv6, where one machine has very many, the network of 64 bits.

    >>> client_of("192.0.2.7"), client_of("2001:db8::1") == client_of("2001:db8::2"), client_of("")
    ('192.0.2.7', True, '')
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, 64), strict=False))


def limited_protocol(limits: Limits) -> Any:
    """Return uvicorn's protocol of HTTP/1.1 with limits, for its setting `http`."""
    import h11
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Limited(H11Protocol):
        _since = 0.0
        _phase: object = None
        _watch: Any = None
        _crowded = False

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            self._since = self.loop.time()
            self._watch = self.loop.call_later(_LOOK_EVERY, self._look)
            mine = _of(self)
            beyond = sum(_of(other) == mine for other in self.connections) - limits.each
            if limits.total is not None:
                beyond = max(beyond, len(self.connections) - limits.total)
            if beyond > limits.spare:
                transport.abort()
            elif beyond > 0:
                self._crowded, self.app = True, _Refusal(self.app, kept=limits.kept)

        def connection_lost(self, exc: Exception | None) -> None:
            if self._watch is not None:
                self._watch.cancel()
            super().connection_lost(exc)

        def _look(self) -> None:
            """Close the connection if it has been in one phase for too long."""
            now = self.loop.time()
            phase, most = self._doing()
            if phase != self._phase:
                self._phase, self._since = phase, now
            elif now - self._since > most:
                self.transport.abort()
                return
            self._watch = self.loop.call_later(_LOOK_EVERY, self._look)

        def _doing(self) -> tuple[object, float]:
            """What the connection is at, and how long it may be."""
            state, number = self.conn.their_state, id(self.cycle)
            if self.transport.is_closing():  # what is left of the last answer, a byte now and then
                return ("end", number), limits.body
            if self.flow.write_paused:
                return ("answer", number, self.transport.get_write_buffer_size()), limits.answer
            if state is h11.IDLE:
                return ("head", number), min(limits.head, _HURRY) if self._crowded else limits.head
            if state is h11.SEND_BODY:
                if self.cycle.response_complete:  # the rest of a refused body: clients read their answer after it
                    return ("rest", number), limits.answer
                return ("body", number), limits.body
            return ("work", number), float("inf")

    return Limited


class _Refusal:
    """ASGI application of a connection that is too many."""

    def __init__(self, app: Any, *, kept: Collection[str]) -> None:
        self._app, self._kept = app, kept

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] in self._kept:
            await self._app(scope, receive, send)
            return
        body = b'{"error": "too many connections; close some, or try again in a moment"}'
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 503, "headers": [*headers, (b"connection", b"close")]})
        await send({"type": "http.response.body", "body": body})


def _of(protocol: Any) -> str:
    return client_of(protocol.client[0] if protocol.client else "")

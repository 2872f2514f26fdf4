"""A bound on the whole time of an exchange: the timeouts of sockets begin anew with every byte that comes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

__all__ = ["WholeTime", "timed_pool"]


class WholeTime:
    """Breaks a connection off when its time is up.

    Attributes:
        over: whether it was.
    """

    def __init__(self) -> None:
        self.over = False
        self._connection: Any = None
        self._socket: Any = None

    def holds(self, connection: Any) -> None:
        """Name the connection; where the time is up already, it is not used."""
        self._connection = connection
        # The connection forgets its socket where an answer is to end with it, and the answer reads on.
        self._socket = getattr(connection, "sock", None)
        if self.over:
            raise TimeoutError

    def end(self) -> None:
        """Break off, from any thread: whoever reads from the connection or writes to it finds its end."""
        self.over = True
        found = self._socket or getattr(self._connection, "sock", None)
        if found is not None:
            with suppress(OSError):
                found.shutdown(socket.SHUT_RDWR)


_HERE = threading.local()  # the time of the exchange that this thread is at


@contextmanager
def _until(seconds: float) -> Iterator[WholeTime]:
    found = WholeTime()
    timer = threading.Timer(seconds, found.end)
    timer.daemon = True
    _HERE.time = found
    timer.start()
    try:
        yield found
    finally:
        timer.cancel()
        _HERE.time = None


def timed_pool(**options: Any) -> Any:
    """Make urllib3's pool of connections, with a method `within(seconds)` for the time of what is asked inside it.

    Args:
        **options: of `urllib3.PoolManager`.
    """
    import urllib3
    from urllib3.connection import HTTPConnection, HTTPSConnection

    def held(connection: Any) -> None:
        time = getattr(_HERE, "time", None)
        if time is not None:
            time.holds(connection)

    class Plain(HTTPConnection):
        def request(self, *arguments: Any, **named: Any) -> None:
            held(self)
            super().request(*arguments, **named)
            held(self)  # the time may have ended before there was a socket

    class Secure(HTTPSConnection):
        def request(self, *arguments: Any, **named: Any) -> None:
            held(self)
            super().request(*arguments, **named)
            held(self)

    class PlainPool(urllib3.HTTPConnectionPool):
        ConnectionCls = Plain

    class SecurePool(urllib3.HTTPSConnectionPool):
        ConnectionCls = Secure

    class Pool(urllib3.PoolManager):
        within = staticmethod(_until)

    found = Pool(**options)
    found.pool_classes_by_scheme = {"http": PlainPool, "https": SecurePool}
    return found

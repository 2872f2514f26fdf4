"""Large answers on their way: in pieces, no slower than they must be, and no more of them at once than memory holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .batching import BusyError

if TYPE_CHECKING:
    from starlette.responses import Response

__all__ = ["Answers"]

_PIECE = 256 << 10  # bytes


class Answers:
    """Counts the bytes of answers until they are taken.

    Args:
        space: for all of them together, in bytes; one alone may be larger.
        patience: seconds after which an answer must be taken at `least_rate`.
        least_rate: bytes a second.
    """

    def __init__(self, *, space: int, patience: float, least_rate: float) -> None:
        self._space, self._patience, self._least_rate = space, patience, least_rate
        self.held = 0

    def room(self, size: int) -> None:
        """Make sure that an answer may be made.

        Raises:
            BusyError: too many large ones are not taken yet.
        """
        if self.held and self.held + size > self._space:
            raise BusyError("too many large answers are not taken yet; try again in a moment")

    def response(self, data: bytes, headers: Mapping[str, str]) -> Response:
        """An answer, which is counted from now until it is sent or given up."""
        from starlette.responses import Response

        answers = self
        self.held += len(data)

        class Counted(Response):
            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                try:
                    with suppress(TimeoutError):  # the server closes the connection of an answer that is not whole
                        await answers._send(self.status_code, self.raw_headers, data, send)
                finally:
                    answers.held -= len(data)

        return Counted(headers={**headers, "content-length": str(len(data))})

    async def _send(self, status: int, headers: Iterable[tuple[bytes, bytes]], data: bytes, send: Any) -> None:
        begun = time.monotonic()
        await send({"type": "http.response.start", "status": status, "headers": list(headers)})
        view = memoryview(data)
        for place in range(0, max(1, len(view)), _PIECE):
            left = begun + self._patience + place / self._least_rate - time.monotonic()
            more = place + _PIECE < len(view)
            async with asyncio.timeout(max(0.0, left)):
                body = bytes(view[place : place + _PIECE])
                await send({"type": "http.response.body", "body": body, "more_body": more})

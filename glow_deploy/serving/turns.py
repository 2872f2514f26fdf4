"""Work in threads, a few pieces of it at once; what waits for its turn is counted, bounded, and not kept for ever."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .batching import BusyError, LateError

__all__ = ["Turns"]

T = TypeVar("T")


class Turns:
    """Turns of one model. Belongs to one event loop.

    Args:
        most: pieces of work at once.
        queue: that wait at most.
        name: of the threads.
    """

    def __init__(self, *, most: int, queue: int, name: str) -> None:
        self._places, self._queue, self._waiting = asyncio.Semaphore(most), queue, 0
        self._threads = ThreadPoolExecutor(most, thread_name_prefix=name)

    def __len__(self) -> int:
        return self._waiting

    async def run(self, work: Callable[[threading.Event], T], *, until: float) -> T:
        """Wait for a turn, and for what comes of it.

        Args:
            work: is given an event that is set once nobody waits for it any more.
            until: when it is too late, on the clock of `time.monotonic`.

        Raises:
            BusyError: too many wait already.
            LateError: it was not done in time.
        """
        if self._places.locked() and self._waiting >= self._queue:
            raise BusyError(f"{self._waiting} requests wait already; try again in a moment")
        gone = threading.Event()
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                self._waiting += 1
                try:
                    await self._places.acquire()
                finally:
                    self._waiting -= 1
                return await self._begin(work, gone)
        except TimeoutError:
            raise LateError("the request was not answered in time; ask for less at once") from None
        finally:
            gone.set()

    async def stop(self) -> None:
        """Wait for what is worked on."""
        await asyncio.to_thread(self._threads.shutdown)

    def _begin(self, work: Callable[[threading.Event], T], gone: threading.Event) -> asyncio.Future[T]:
        # The place is free when the thread is, which may be long after its client has gone.
        loop = asyncio.get_running_loop()
        try:
            job = self._threads.submit(work, gone)
        except BaseException:
            self._places.release()
            raise
        job.add_done_callback(lambda _: loop.call_soon_threadsafe(self._places.release))
        return asyncio.wrap_future(job)

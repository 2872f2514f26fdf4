"""Micro-batching: requests that wait at the same moment are run together, and each gets its own rows back."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np

from glow_deploy.engines.base import EngineBase
from glow_deploy.errors import EngineError
from glow_deploy.printable import one_line
from glow_deploy.protocol import Engine

__all__ = ["Batcher", "BusyError", "JoinedEngine", "LateError"]

Arrays = dict[str, np.ndarray]


class BusyError(EngineError):
    """Too many requests wait already."""


class LateError(EngineError):
    """A request was not answered in time."""


@dataclass(eq=False)
class _Waiting:
    """A request in the queue."""

    feeds: Arrays
    rows: int
    until: float
    answer: asyncio.Future[Arrays]


class Batcher:
    """Runs one engine, one batch at a time, from a queue. Belongs to the event loop that `start` is called in.

    Nothing of a Glow works along the batch, so that whom a request is joined with changes nothing but rounding.

    Args:
        engine: that is run; not closed here.
        max_rows: of one batch.
        delay: seconds that a batch waits for requests that are on their way; where none are, it does not wait.
        queue: requests that wait at most.
        on_batch: told the rows of each batch.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        max_rows: int,
        delay: float,
        queue: int,
        on_batch: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.engine, self.max_rows = engine, max_rows
        self.arriving: Callable[[], bool] = lambda: False
        self._delay, self._queue, self._on_batch = delay, queue, on_batch
        self._waiting: OrderedDict[_Waiting, None] = OrderedDict()
        self._news = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        # Of its own: threads of scoring and sampling wait for what runs here.
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def alive(self) -> bool:
        """Whether requests are taken."""
        return self._task is not None and not self._task.done()

    def wake(self) -> None:
        """Look again whether requests are on their way: one of them may have failed."""
        self._news.set()

    def start(self) -> None:
        """Begin to take requests."""
        self._task = asyncio.get_running_loop().create_task(self._work())

    async def stop(self) -> None:
        """End; what still waits is refused."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await asyncio.to_thread(self._thread.shutdown)
        _end(self._waiting, BusyError("the server is ending"))

    async def run(self, feeds: Arrays, rows: int, *, until: float) -> Arrays:
        """Put a request in the queue and wait for its answer.

        Args:
            feeds: as the engine takes them, `[rows, ...]`.
            rows: at most `max_rows`.
            until: when it is too late, on the clock of `time.monotonic`.

        Raises:
            BusyError: too many wait already.
            LateError: there was no answer in time.
            EngineError: the engine refuses it.
        """
        if not self.alive:
            raise BusyError("the server is ending")
        if len(self._waiting) >= self._queue:
            raise BusyError(f"{len(self._waiting)} requests wait already; try again in a moment")
        answer: asyncio.Future[Arrays] = asyncio.get_running_loop().create_future()
        item = _Waiting(feeds=feeds, rows=rows, until=until, answer=answer)
        self._waiting[item] = None
        self._news.set()
        try:
            async with asyncio.timeout(max(0.0, until - time.monotonic())):
                return await answer
        except TimeoutError:
            raise LateError("the request was not answered in time; try again when there is less to do") from None
        finally:
            self._waiting.pop(item, None)  # one that nobody waits for takes no place

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._news.clear()
                await self._news.wait()
            await self._wait_for_others()
            batch = self._take()
            if batch:
                await self._answer(batch)

    async def _wait_for_others(self) -> None:
        until = time.monotonic() + self._delay
        while self.arriving() and sum(item.rows for item in self._waiting) < self.max_rows:
            left = until - time.monotonic()
            if left <= 0:
                return
            self._news.clear()
            try:
                async with asyncio.timeout(left):
                    await self._news.wait()
            except TimeoutError:
                return

    def _take(self) -> list[_Waiting]:
        """The requests in front that fit one batch; those that nobody waits for any more are dropped."""
        batch: list[_Waiting] = []
        rows = 0
        while self._waiting:
            item = next(iter(self._waiting))
            dropped = item.answer.done() or item.until < time.monotonic()
            if not dropped and batch and rows + item.rows > self.max_rows:
                break
            del self._waiting[item]
            if not dropped:
                batch.append(item)
                rows += item.rows
        return batch

    async def _answer(self, batch: list[_Waiting]) -> None:
        """Run a batch; whatever happens to it, nobody is left to wait, and the next one is run."""
        try:
            self._on_batch(sum(item.rows for item in batch))
            work = partial(_run, self.engine, [item.feeds for item in batch])
            answers = await asyncio.get_running_loop().run_in_executor(self._thread, work)
            for item, found in zip(batch, answers, strict=True):
                if item.answer.done():
                    continue
                if isinstance(found, BaseException):
                    item.answer.set_exception(found)
                else:
                    item.answer.set_result(found)
        except Exception as error:
            _end(batch, EngineError(f"the batch was not run: {type(error).__name__}: {one_line(error, longest=200)}"))
        finally:
            _end(batch, BusyError("the server is ending"))


class JoinedEngine(EngineBase):
    """An engine for a thread of its own, whose batches go through a `Batcher`. For one request.

    Args:
        batcher: of the engine.
        loop: that the batcher belongs to.
        until: when it is too late.
        gone: set once nobody waits for the request any more.
    """

    def __init__(
        self,
        batcher: Batcher,
        loop: asyncio.AbstractEventLoop,
        *,
        until: float,
        gone: threading.Event | None = None,
    ) -> None:
        engine = batcher.engine
        self._batcher, self._loop, self._until = batcher, loop, until
        self._gone = gone or threading.Event()
        super().__init__(
            role=engine.role,
            n_bits=engine.n_bits,
            inputs=engine.inputs,
            outputs=engine.outputs,
            details=engine.details,
            num_classes=engine.num_classes,
            most_rows=batcher.max_rows,
        )

    def _run(self, arrays: Arrays, batch: int) -> Arrays:
        if self._gone.is_set() or time.monotonic() > self._until:
            raise LateError("the request was not answered in time; ask for less at once")
        work = self._batcher.run(arrays, batch, until=self._until)
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _close(self) -> None:
        pass


def _end(items: Iterable[_Waiting], error: EngineError) -> None:
    for item in items:
        if not item.answer.done():
            item.answer.set_exception(error)


def _run(engine: Engine, feeds: list[Arrays]) -> list[Any]:
    """Run requests as one batch; where that fails, each by itself, so that none spoils the others."""
    if len(feeds) > 1:
        with suppress(Exception):  # of any kind: there may be memory for each where there is none for all
            found = engine.run({name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]})
            ends = np.cumsum([0, *(len(next(iter(feed.values()))) for feed in feeds)])
            return [{name: array[first:last] for name, array in found.items()} for first, last in pairwise(ends)]
    answers: list[Any] = []
    for feed in feeds:
        try:
            answers.append(engine.run(feed))
        except Exception as error:
            answers.append(error)
    return answers

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from glow_deploy.serving.batching import BusyError, LateError
from glow_deploy.serving.turns import Turns


def soon(seconds=20):
    return time.monotonic() + seconds


def test_more_than_may_wait_are_refused_and_late_ones_leave():
    go, begun = threading.Event(), []

    def work(gone):
        begun.append(gone)
        assert go.wait(20)
        return len(begun)

    async def check():
        turns = Turns(most=1, queue=2, name="t")
        first = asyncio.create_task(turns.run(work, until=soon()))
        while not begun:
            await asyncio.sleep(0.001)
        late = asyncio.create_task(turns.run(work, until=soon(0.05)))
        other = asyncio.create_task(turns.run(work, until=soon()))
        await asyncio.sleep(0)
        assert len(turns) == 2
        with pytest.raises(BusyError, match="2 requests wait"):
            await turns.run(work, until=soon())
        with pytest.raises(LateError):
            await late
        assert len(turns) == 1
        go.set()
        assert await asyncio.gather(first, other) == [1, 2]
        await turns.stop()

    asyncio.run(check())


def test_work_is_told_that_nobody_waits_and_keeps_its_place_until_it_ends():
    go, begun = threading.Event(), []

    def work(gone):
        begun.append(gone)
        assert go.wait(20)

    async def check():
        turns = Turns(most=1, queue=2, name="t")
        with pytest.raises(LateError):
            await turns.run(work, until=soon(0.1))
        assert begun[0].is_set()
        other = asyncio.create_task(turns.run(work, until=soon()))
        await asyncio.sleep(0.05)
        assert len(begun) == 1  # the thread is not free
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
        go.set()
        await turns.run(lambda gone: None, until=soon())
        await turns.stop()

    asyncio.run(check())
    assert len(begun) == 1


def test_what_work_raises_is_raised_and_its_place_is_free():
    async def check():
        turns = Turns(most=1, queue=1, name="t")
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await turns.run(lambda gone: 1 / 0, until=soon())
        await turns.stop()

    asyncio.run(check())

"""Requests are joined, and whatever happens each gets its own rows or one line."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import asynccontextmanager

import numpy as np
import pytest

from glow_deploy.engines.example import example_pair
from glow_deploy.errors import EngineError
from glow_deploy.serving.batching import Batcher, BusyError, JoinedEngine, LateError


class Slow:
    """The example's encoder, whose runs can be held back."""

    def __init__(self):
        self.engine, _ = example_pair()
        self.go, self.batches = threading.Event(), []
        self.go.set()
        self.trouble = None

    def __getattr__(self, name):
        return getattr(self.engine, name)

    def run(self, feeds):
        self.batches.append(len(feeds["x"]))
        assert self.go.wait(20)
        if self.trouble is not None and len(feeds["x"]) > 1:
            raise self.trouble
        if (feeds["x"] > 5).any():
            raise EngineError("too bright")
        return self.engine.run(feeds)


@asynccontextmanager
async def batching(engine, **options):
    batcher = Batcher(engine, **{"max_rows": 8, "delay": 0.0, "queue": 100, **options})
    batcher.start()
    try:
        yield batcher
    finally:
        engine.go.set()
        await batcher.stop()


def image(value, rows=1):
    return {"x": np.full((rows, 1, 4, 4), value, np.float32)}


def soon(seconds=20):
    return time.monotonic() + seconds


async def held(engine, batcher):
    """Keep the engine busy with a first request, so that those that follow wait."""
    engine.go.clear()
    first = asyncio.create_task(batcher.run(image(0.5), 1, until=soon()))
    while not engine.batches:
        await asyncio.sleep(0.001)
    return first


def test_those_that_wait_are_run_together_and_get_their_own_rows():
    engine = Slow()
    alone = {value: engine.engine.run(image(value))["log_prob"][0] for value in (0.1, 0.2, 0.3, 0.4)}

    async def check():
        async with batching(engine) as batcher:
            first = await held(engine, batcher)
            sizes = {0.1: 2, 0.2: 3, 0.3: 1, 0.4: 3}
            tasks = [asyncio.create_task(batcher.run(image(v, n), n, until=soon())) for v, n in sizes.items()]
            await asyncio.sleep(0.01)
            engine.go.set()
            found = await asyncio.gather(*tasks)
            await first
            for (value, rows), answer in zip(sizes.items(), found, strict=True):
                assert answer["log_prob"].shape == (rows,)
                np.testing.assert_allclose(answer["log_prob"], alone[value], rtol=1e-5)

    asyncio.run(check())
    assert engine.batches == [1, 6, 3]  # never more than 8 rows, and in order


def test_a_batch_waits_for_requests_on_their_way_and_for_none_else():
    engine = Slow()

    async def check():
        async with batching(engine, delay=0.2) as batcher:
            begun = time.monotonic()
            await batcher.run(image(0.1), 1, until=soon())
            assert time.monotonic() - begun < 0.15  # nobody else is coming
            batcher.arriving = lambda: True
            first = asyncio.create_task(batcher.run(image(0.1), 1, until=soon()))
            await asyncio.sleep(0.02)
            await asyncio.gather(first, batcher.run(image(0.2), 1, until=soon()))

    asyncio.run(check())
    assert engine.batches == [1, 2]


def test_one_that_the_engine_refuses_spoils_no_other():
    engine = Slow()

    async def check():
        async with batching(engine) as batcher:
            first = await held(engine, batcher)
            tasks = [asyncio.create_task(batcher.run(image(value), 1, until=soon())) for value in (0.1, 9.0, 0.2)]
            await asyncio.sleep(0.01)
            engine.go.set()
            found = await asyncio.gather(first, *tasks, return_exceptions=True)
            assert [isinstance(answer, EngineError) for answer in found] == [False, False, True, False]

    asyncio.run(check())
    assert engine.batches == [1, 3, 1, 1, 1]


@pytest.mark.parametrize("trouble", [MemoryError("no room"), ValueError("x"), RuntimeError("driver"), StopIteration()])
def test_whatever_a_batch_raises_each_is_answered_and_the_next_is_run(trouble):
    engine = Slow()

    async def check():
        async with batching(engine) as batcher:
            first = await held(engine, batcher)
            tasks = [asyncio.create_task(batcher.run(image(value), 1, until=soon())) for value in (0.1, 0.2)]
            await asyncio.sleep(0.01)
            engine.trouble = trouble
            engine.go.set()
            found = await asyncio.gather(first, *tasks)
            assert [answer["log_prob"].shape for answer in found] == [(1,)] * 3
            with pytest.raises((type(trouble), EngineError)):  # alone it fails as well
                await batcher.run(image(0.3, 2), 2, until=soon())
            await batcher.run(image(0.4), 1, until=soon())
            assert batcher.alive

    asyncio.run(check())


def test_what_counts_batches_may_fail_and_no_worker_ends():
    engine, seen = Slow(), []

    def count(rows):
        seen.append(rows)
        if len(seen) == 1:
            raise RuntimeError("no disk")

    async def check():
        async with batching(engine, on_batch=count) as batcher:
            with pytest.raises(EngineError, match="RuntimeError: no disk"):
                await batcher.run(image(0.1), 1, until=soon())
            await batcher.run(image(0.1), 1, until=soon())
        assert not batcher.alive
        with pytest.raises(BusyError, match="ending"):
            await batcher.run(image(0.1), 1, until=soon())

    asyncio.run(check())


def test_those_that_gave_up_take_no_place():
    engine = Slow()

    async def check():
        async with batching(engine, queue=2) as batcher:
            first = await held(engine, batcher)
            late = asyncio.create_task(batcher.run(image(0.1), 1, until=soon(0.02)))
            cancelled = asyncio.create_task(batcher.run(image(0.1), 1, until=soon()))
            await asyncio.sleep(0)
            assert len(batcher) == 2
            cancelled.cancel()
            await asyncio.gather(late, cancelled, return_exceptions=True)
            assert len(batcher) == 0
            fresh = asyncio.create_task(batcher.run(image(0.2), 1, until=soon()))
            await asyncio.sleep(0)
            engine.go.set()
            await asyncio.gather(first, fresh)

    asyncio.run(check())
    assert engine.batches == [1, 1]


def test_a_batch_stops_waiting_when_nobody_is_coming_any_more():
    engine = Slow()

    async def check():
        async with batching(engine, delay=20) as batcher:
            coming = [True]
            batcher.arriving = lambda: bool(coming)
            task = asyncio.create_task(batcher.run(image(0.1), 1, until=soon()))
            await asyncio.sleep(0.02)
            assert not engine.batches
            coming.clear()
            batcher.wake()
            async with asyncio.timeout(10):
                await task

    asyncio.run(check())


def test_too_many_are_refused_and_late_ones_are_told_and_not_run():
    engine = Slow()

    async def check():
        async with batching(engine, queue=2) as batcher:
            first = await held(engine, batcher)
            late = asyncio.create_task(batcher.run(image(0.1), 1, until=soon(0.05)))
            waiting = asyncio.create_task(batcher.run(image(0.2), 1, until=soon()))
            await asyncio.sleep(0)
            with pytest.raises(BusyError, match="2 requests wait"):
                await batcher.run(image(0.3), 1, until=soon())
            with pytest.raises(LateError):
                await late
            engine.go.set()
            await asyncio.gather(first, waiting)

    asyncio.run(check())
    assert engine.batches == [1, 1]


def test_threads_ask_through_the_queue_and_end_in_time():
    engine = Slow()

    async def check():
        async with batching(engine, max_rows=2) as batcher:
            loop = asyncio.get_running_loop()
            joined = JoinedEngine(batcher, loop, until=soon())
            found = await asyncio.to_thread(joined.run, image(0.1, 5))
            assert found["log_prob"].shape == (5,)
            late = JoinedEngine(batcher, loop, until=soon(-1))
            with pytest.raises(LateError):
                await asyncio.to_thread(late.run, image(0.1))

    asyncio.run(check())
    assert engine.batches == [2, 2, 1]


def test_at_the_end_nobody_waits_for_ever():
    engine = Slow()

    async def check():
        async with batching(engine) as batcher:
            first = await held(engine, batcher)
            left = asyncio.create_task(batcher.run(image(0.1), 1, until=soon()))
            await asyncio.sleep(0.01)
            threading.Timer(0.1, engine.go.set).start()
            await batcher.stop()
            with pytest.raises(BusyError, match="ending"):
                await left
            first.cancel()

    asyncio.run(check())

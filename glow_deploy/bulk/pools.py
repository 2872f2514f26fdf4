"""Who does the work: this process, or workers of a Ray cluster. Both give the same results, in whatever order."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from glow_deploy.progress import StageProgress

from .index import Record
from .plan import Task
from .settings import Where
from .sources import Source, Survey, size_of, survey
from .work import Work

__all__ = ["Pool", "check_pool", "open_pool"]


class Pool(Protocol):
    """Does work piece by piece."""

    @property
    def workers(self) -> int:
        """How many processes there are."""
        ...

    def survey(self, sources: Sequence[Source], *, progress: StageProgress) -> Iterator[tuple[Source, Survey]]:
        """Look at sources.

        Raises:
            DataError: one is damaged.
        """
        ...

    def work(self, work: Work, tasks: Sequence[Task], *, told: Callable[[int], None]) -> Iterator[Record]:
        """Make shards.

        Args:
            work: what is done.
            tasks: the shards.
            told: may be called with how many rows of the coming shard are done, where that is known.

        Raises:
            GlowDeployError: what a worker raised; shards that came before are in their places.
        """
        ...


class _LocalPool:
    """This process."""

    workers = 1

    def survey(self, sources: Sequence[Source], *, progress: StageProgress) -> Iterator[tuple[Source, Survey]]:
        """See `Pool`."""
        total = sum(map(size_of, sources))
        done = 0

        def told(size: int) -> None:
            nonlocal done
            done += size
            progress("reading the inputs, MiB", min(done, total) >> 20, max(1, total >> 20))

        for source in sources:
            yield source, survey(source, told=told)

    def work(self, work: Work, tasks: Sequence[Task], *, told: Callable[[int], None]) -> Iterator[Record]:
        """See `Pool`."""
        with work.start() as worker:
            for task in tasks:
                yield worker(task, told=told)


def check_pool(where: Where) -> None:
    """Find out at once what is not installed.

    Raises:
        MissingDependencyError: Ray is wanted and not installed.
    """
    if where.engine == "ray":
        from .ray_pool import import_ray

        import_ray()


def open_pool(where: Where) -> AbstractContextManager[Pool]:
    """Open what `where` names for a `with` block.

    Raises:
        MissingDependencyError: Ray is not installed.
        EngineError: its cluster cannot be reached or started.
    """
    if where.engine == "local":
        return nullcontext(_LocalPool())
    from .ray_pool import ray_pool

    return ray_pool(where)

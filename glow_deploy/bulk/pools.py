"""Who does the work: this process, or workers of a Ray cluster. Both give the same results, in whatever order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from .index import Record
from .plan import Task
from .settings import Where
from .sources import Source, Survey, survey
from .work import Work

__all__ = ["Pool", "check_pool", "open_pool"]


class Pool(Protocol):
    """Does work piece by piece."""

    @property
    def workers(self) -> int:
        """How many processes there are."""
        ...

    def survey(self, sources: Sequence[Source]) -> Iterator[tuple[Source, Survey]]:
        """Look at sources.

        Raises:
            DataError: one is damaged.
        """
        ...

    def work(self, work: Work, tasks: Sequence[Task]) -> Iterator[Record]:
        """Make shards.

        Raises:
            GlowDeployError: what a worker raised; shards that came before are in their places.
        """
        ...


class _LocalPool:
    """This process."""

    workers = 1

    def survey(self, sources: Sequence[Source]) -> Iterator[tuple[Source, Survey]]:
        """See `Pool`."""
        for source in sources:
            yield source, survey(source)

    def work(self, work: Work, tasks: Sequence[Task]) -> Iterator[Record]:
        """See `Pool`."""
        with work.start() as worker:
            for task in tasks:
                yield worker(task)


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

"""Workers of a Ray cluster, through Ray Data: each is an actor that opens the engines once.

What travels is small: descriptions of tasks to the workers, lines of the index back. Workers read the inputs and write
the shards themselves. Ray restarts a worker that died and gives its task to another; a shard is one rename, so a task
that is done twice leaves the same file as one that is done once.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from glow_core.own_files import open_own
from glow_deploy.errors import (
    BundleError,
    DataError,
    EngineError,
    GlowDeployError,
    MissingDependencyError,
    UnsoundModelError,
    UsageError,
)
from glow_deploy.printable import one_line
from glow_deploy.progress import StageProgress

from .index import Record, record_of
from .plan import Task
from .settings import Where
from .sources import Source, Survey, survey
from .work import Work

__all__ = ["MOST_TRIES", "Maker", "RayPool", "counted_try", "import_ray", "look", "ray_pool", "tries_file"]

MOST_TRIES = 5
"""Of one task. Ray would go on for ever, and a file may be what kills the workers."""

_PATIENCE = 10.0  # seconds

_KINDS = {
    kind.__name__: kind
    for kind in (BundleError, DataError, EngineError, MissingDependencyError, UnsoundModelError, UsageError)
}


@contextmanager
def ray_pool(where: Where) -> Iterator[RayPool]:
    """Connect to a cluster, or start one on this machine, for a `with` block. One that was there stays.

    Raises:
        MissingDependencyError: Ray is not installed.
        EngineError: the cluster cannot be reached or started.
        UsageError: it has no room for a worker.
    """
    ray = import_ray()
    ours = not ray.is_initialized()
    try:
        if ours:
            _connect(ray, where)
        _quieten(ray)
        yield RayPool(ray, where)
    finally:
        if ours:
            ray.shutdown()


class RayPool:
    """See `Pool`.

    Args:
        ray: the module.
        where: the work is done.

    Raises:
        UsageError: the cluster has no room for a worker.
    """

    def __init__(self, ray: Any, where: Where) -> None:
        self._ray, self._where = ray, where
        self._gpu = where.device.startswith("cuda")
        self._cpus = where.threads or 1
        held = ray.cluster_resources()
        room = int(held.get("GPU", 0)) if self._gpu else int(held.get("CPU", 0) // self._cpus)
        if room < 1:
            wanted = "1 GPU" if self._gpu else f"{self._cpus} CPUs"
            raise UsageError(f"the Ray cluster has no room for a worker of {wanted}")
        self.workers = where.workers or room

    def survey(self, sources: Sequence[Source], *, progress: StageProgress) -> Iterator[tuple[Source, Survey]]:
        """See `Pool`."""
        items = [json.dumps(asdict(source)) for source in sources]
        progress("reading the inputs", 0, len(items))
        for done, (number, document) in enumerate(self._map(items, look, {"num_cpus": 1}), start=1):
            progress("reading the inputs", done, len(items))
            yield sources[number], Survey(**document)

    def work(self, work: Work, tasks: Sequence[Task], *, told: Callable[[int], None]) -> Iterator[Record]:
        """See `Pool`. Batches are not told of: workers send finished shards alone."""
        del told
        options = {
            "fn_constructor_args": (work,),
            "compute": self._ray.data.ActorPoolStrategy(size=min(self.workers, len(tasks))),
            "num_cpus": self._cpus,
            "num_gpus": 1 if self._gpu else None,
        }
        items = [json.dumps(asdict(task)) for task in tasks]
        for _, document in self._map(items, Maker, options):
            yield record_of(document)

    def _map(self, items: list[str], function: Any, options: dict[str, Any]) -> Iterator[tuple[int, Any]]:
        """Results in the order in which they come, each with the number of its item."""
        rows = [{"number": number, "item": item} for number, item in enumerate(items)]
        ready = self._ray.data.from_items(rows, override_num_blocks=len(rows))
        results = ready.map_batches(function, batch_size=1, **options)
        try:
            for row in results.iter_rows():
                answer = json.loads(row["answer"])
                if "error" in answer:
                    raise _KINDS.get(answer["kind"], GlowDeployError)(answer["error"])
                yield int(row["number"]), answer["result"]
        except self._ray.exceptions.RayError as error:
            raise EngineError(f"the Ray cluster failed ({one_line(error, longest=300)}); run again to go on") from error


def _answers(rows: dict[str, Any], do: Callable[[Any], Any]) -> dict[str, Any]:
    """Rows of JSON in, rows of JSON out. An error of ours is an answer, not a crash."""

    def answer(item: str) -> str:
        try:
            return json.dumps({"result": do(json.loads(item))})
        except GlowDeployError as error:
            return json.dumps({"error": str(error), "kind": type(error).__name__})

    return {"number": rows["number"], "answer": [answer(item) for item in rows["item"].tolist()]}


def look(rows: dict[str, Any]) -> dict[str, Any]:
    """Look at sources, in a worker."""
    return _answers(rows, lambda item: asdict(survey(Source(**item))))


class Maker:
    """Makes shards, in a worker that opens the engines once."""

    def __init__(self, work: Work) -> None:
        self._work = work
        self._worker: Callable[[Task], Record] | None = None

    def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
        """Make the shards of some tasks."""
        return _answers(rows, self._make)

    def _make(self, item: Any) -> Any:
        task = Task(**item)
        with counted_try(Path(self._work.out), task):
            if self._worker is None:  # here, so that what is wrong with an engine is an answer
                self._worker = self._work.start()
            return asdict(self._worker(task))


def tries_file(out: Path, task: Task) -> Path:
    """Name the file whose length is how often a task was begun and not ended."""
    return out / f".{task.shard}.tries"


@contextmanager
def counted_try(out: Path, task: Task) -> Iterator[None]:
    """Count a try, and give up on a task that has killed its workers.

    Raises:
        EngineError: it has killed `MOST_TRIES` of them.
        UsageError: the folder cannot be written.
    """
    path = tries_file(out, task)
    with suppress(FileNotFoundError):
        if path.stat().st_size >= MOST_TRIES:
            path.unlink()
            raise EngineError(
                f"{MOST_TRIES} workers died while they made {task.shard} (rows {task.first:,} to {task.last - 1:,} of "
                "its input): a picture may crash its reader, or the memory is too small; run again to go on"
            )
    try:
        with os.fdopen(open_own(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, error=UsageError), "ab") as stream:
            stream.write(b".")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}; every worker needs the folder") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def import_ray() -> Any:
    """Import Ray with its package for data.

    Raises:
        MissingDependencyError: it is not installed.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no run reports to anybody
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # else it warns of how Ray Data itself makes actors
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingDependencyError(
            f'engine="ray" needs Ray, which cannot be imported ({one_line(error, longest=120)}): '
            "pip install 'glow-deploy[ray]'"
        ) from error
    return ray


def _connect(ray: Any, where: Where) -> None:
    address = where.address or os.environ.get("RAY_ADDRESS")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        options |= {
            "address": "local",  # else it takes any cluster that `ray start` began here
            "num_cpus": max(cores, (where.workers or 1) * (where.threads or 1)),
            "include_dashboard": False,
        }
    else:
        _knock(address)
        options["address"] = address
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(**options)
    except Exception as error:  # it raises many unrelated types
        what = "the Ray cluster cannot be started" if address is None else f"no Ray cluster answers at {address}"
        raise EngineError(f"{what} ({one_line(error, longest=300) or type(error).__name__})") from error
    finally:
        with suppress(ValueError, TypeError):  # outside the main thread there is nothing to put back
            signal.signal(signal.SIGTERM, before)


def _knock(address: str) -> None:
    """Find out at once that nobody answers at HOST:PORT; Ray itself would try for minutes."""
    host, colon, port = address.rpartition(":")
    if not colon or not (port.isascii() and port.isdecimal()) or "/" in address:
        return  # a word or a scheme, which Ray looks up
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, OverflowError, ValueError) as error:
        reason = getattr(error, "strerror", None) or one_line(error, longest=120) or type(error).__name__
        raise EngineError(f"no Ray cluster answers at {address} ({reason})") from error


def _quieten(ray: Any) -> None:
    """Keep Ray Data from drawing bars of its own."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)

"""One worker: it opens the engines once, and makes output shards of tasks, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from glow_deploy.artifact.files import sha256_file
from glow_deploy.artifact.flavors import graph_backend
from glow_deploy.artifact.identity import engine_model_id
from glow_deploy.data import LeftOut
from glow_deploy.engines.open import open_engine
from glow_deploy.engines.pair import open_pair
from glow_deploy.errors import DataError, UnsoundModelError
from glow_deploy.protocol import Engine

from .actions import Columns, Pictures, edit_columns, encode_columns, sample_columns, score_columns
from .index import Record
from .pictures import read_pictures
from .plan import Plan, Task
from .settings import Where
from .shards import write_shard
from .sources import Source, open_rows, stamp

__all__ = ["Work", "Worker"]

_LISTS = 4  # sources that a worker keeps the list of rows of


@dataclass(frozen=True, kw_only=True)
class Work:
    """All that a worker needs to know, the same for each of them.

    Attributes:
        plan: of the run.
        out: the output folder, from anywhere.
        files: paths of the engines and the directions, by what they are.
        sources: where the inputs of the plan are, in its order.
        stamps: of those, when the run began.
        where: how the engines are opened.
        skip_unreadable: leave out pictures that cannot be read.
    """

    plan: Plan
    out: str
    files: dict[str, str]
    sources: tuple[Source, ...]
    stamps: tuple[str, ...]
    where: Where
    skip_unreadable: bool

    def start(self) -> Worker:
        """Open the engines.

        Raises:
            GlowDeployError: a file is missing, is another than the plan's, or cannot be run here.
        """
        return Worker(self)


class Worker:
    """Makes shards. A context manager: the engines are closed at its end.

    Args:
        work: what it does.

    Raises:
        GlowDeployError: see `Work.start`.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._stack = ExitStack()
        self._lists = lru_cache(maxsize=_LISTS)(self._list)
        try:
            for name, path in work.files.items():
                if sha256_file(Path(path)) != work.plan.files[name]:
                    raise DataError(f"{path} was changed during the run; put back the {name} that it began with")
            self._engines = self._open()
            self._directions: Any = self._load_directions()
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_error: object) -> None:
        self._stack.close()

    def __call__(self, task: Task, *, told: Callable[[int], None] | None = None) -> Record:
        """Make one shard.

        Args:
            task: which one.
            told: called with how many of its rows are done, after each batch.

        Raises:
            DataError: an input is damaged or was changed, or a picture cannot be read and may not be left out.
            UnsoundModelError: the model cannot encode a picture, or draw a sample.
            UsageError: the shard cannot be written.
        """
        skipped: list[LeftOut] = []
        parts: list[Columns] = []
        done = 0
        for part in self._parts(task, skipped):
            parts.append(part)
            done += len(part.columns["number"])
            if told is not None:
                told(done)
        columns = {name: _joined([part.columns[name] for part in parts]) for name in parts[0].columns} if parts else {}
        rows = len(columns["number"]) if parts else 0
        size, digest = 0, ""
        if rows:
            size, digest = write_shard(Path(self._work.out) / task.shard, columns, kind=self._work.plan.format)
        bits = np.asarray(columns.get("bits_per_dim", ()), np.float64)
        finite = bits[np.isfinite(bits)]
        details = next(iter(self._engines.values())).details
        return Record(
            shard=task.shard,
            rows=rows,
            size=size,
            sha256=digest,
            source=self._work.plan.sources[task.source].name if task.source >= 0 else "",
            first=task.first,
            last=task.last,
            backend=f"{details.backend} ({details.provider}, {details.device})",
            skipped=tuple(skipped),
            bits_per_dim=float(finite.mean()) if finite.size else None,
            nonfinite=bits.size - finite.size,
            redrawn=sum(part.redrawn for part in parts),
        )

    def _parts(self, task: Task, skipped: list[LeftOut]) -> Iterator[Columns]:
        plan = self._work.plan
        if plan.action == "sample":
            yield from sample_columns(self._engines["decoder"], plan.options, first=task.first, last=task.last)
            return
        encoder = self._engines["encoder"]
        shape = next(spec.shape for spec in encoder.inputs if spec.name == "x")
        found = read_pictures(
            self._lists(task.source),
            task,
            shape=shape,
            batch=int(plan.options["batch"]),
            resize=bool(plan.options["resize"]),
            skipped=skipped if self._work.skip_unreadable else None,
        )
        for pictures in found:
            yield from self._columns(pictures, skipped)

    def _columns(self, pictures: Pictures, skipped: list[LeftOut]) -> Iterator[Columns]:
        """What a run of pictures gives; one that the model cannot take is left out where that is allowed."""
        try:
            yield self._act(pictures)
            return
        except UnsoundModelError as error:
            if not self._work.skip_unreadable:
                raise
            if len(pictures) == 1:
                skipped.append(LeftOut(name=pictures.names[0], reason=str(error)))
                return
        for row in range(len(pictures)):
            yield from self._columns(pictures.row(row), skipped)

    def _act(self, pictures: Pictures) -> Columns:
        plan, encoder = self._work.plan, self._engines["encoder"]
        if plan.action == "encode":
            return encode_columns(encoder, plan.options, pictures)
        if plan.action == "score":
            return score_columns(encoder, plan.options, pictures)
        return edit_columns(encoder, self._engines["decoder"], self._directions, plan.options, pictures)

    def _list(self, source: int) -> Any:
        found = self._work.sources[source]
        if stamp(found) != self._work.stamps[source]:
            raise DataError(f"the input {found.path} was changed during the run; put back what it began with")
        return open_rows(found)

    def _open(self) -> dict[str, Engine]:
        work, where = self._work, self._work.where
        if work.plan.action == "edit":
            pair = open_pair(
                encoder=work.files["encoder"],
                decoder=work.files["decoder"],
                flavor=where.flavor if graph_backend(where.flavor) != "auto" else "onnx",
                device=where.device,
                threads=where.threads,
                trust_engine=where.trust_engine,
            )
            encoder, decoder = self._stack.enter_context(pair)
            return {"encoder": encoder, "decoder": decoder}
        role = "decoder" if work.plan.action == "sample" else "encoder"
        engine = open_engine(
            work.files[role],
            backend=graph_backend(where.flavor),
            device=where.device,
            threads=where.threads,
            trust_engine=where.trust_engine,
        )
        return {role: self._stack.enter_context(engine)}

    def _load_directions(self) -> Any:
        if "directions" not in self._work.files:
            return None
        from glow_deploy.directions.files import load_directions

        model_id = engine_model_id(self._work.files["decoder"])
        return load_directions(self._work.files["directions"], self._engines["decoder"].inputs, model_id=model_id)


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [item for part in parts for item in part]

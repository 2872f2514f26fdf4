"""A whole bulk run: look at the inputs, make or take up the plan, make what is missing, close the index."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import get_args

from glow_core.locks import LOCK_NAME
from glow_core.temporaries import is_temporary
from glow_deploy.arguments import as_choice, as_flag, as_instance, as_path, as_several
from glow_deploy.artifact.files import sha256_file
from glow_deploy.data import LeftOut
from glow_deploy.errors import DataError, UsageError
from glow_deploy.progress import StageProgress

from .arrow import import_arrow
from .checks import check_directions, check_folder, facts_of, files_of, rows_of_a_shard
from .index import INDEX, Index, Record
from .lock import folder_lock
from .plan import PLAN, Plan, PlannedSource, need_same, options_of, read_plan
from .pools import Pool, check_pool, open_pool
from .settings import Action, BulkSettings, Where
from .sources import Source, Survey, find_sources, stamp
from .work import Work

__all__ = ["BulkResult", "run_bulk"]

_DOING: Mapping[Action, str] = {"encode": "encoding", "score": "scoring", "sample": "sampling", "edit": "editing"}


@dataclass(frozen=True, kw_only=True)
class BulkResult:
    """A finished run.

    Attributes:
        out: the folder.
        action: what was done.
        shards: that it holds.
        rows: in them.
        bytes: of them.
        resumed: shards that an earlier run had made.
        lost: shards of an earlier run that were gone or damaged, and were made again.
        skipped: pictures that were left out.
        bits_per_dim: mean over all rows where it is finite; None where it is not measured.
        nonfinite: rows where it is not: the encoder overflows on them.
        redrawn: samples that were drawn again, or edits that were scaled back.
        backends: what ran.
        workers: processes that worked.
        made: rows that this run made.
        seconds: that it took, opening the engines included.
    """

    out: Path
    action: Action
    shards: int
    rows: int
    bytes: int
    resumed: int
    lost: tuple[str, ...]
    skipped: tuple[LeftOut, ...]
    bits_per_dim: float | None
    nonfinite: int
    redrawn: int
    backends: tuple[str, ...]
    workers: int
    made: int
    seconds: float


def run_bulk(
    action: Action,
    model: str | Path,
    inputs: str | Path | Sequence[str | Path] = (),
    *,
    out: str | Path,
    directions: str | Path | None = None,
    settings: BulkSettings | None = None,
    where: Where | None = None,
    check: bool = False,
    progress: StageProgress | None = None,
) -> BulkResult:
    """Encode, score or edit every picture of some inputs, or draw samples, into shards with an index.

    A run that was stopped goes on when it is started again with the same arguments: shards that the index lists are not
    made again. All that a row gets depends on the row, its number and the settings alone, so the shards are the same
    bit for bit whoever makes them, on processors of one kind.

    Args:
        action: `encode`, `score`, `sample` or `edit`.
        model: a bundle; or the one engine that the action needs.
        inputs: folders of pictures, Parquet files and WebDataset shards, or folders of shards, or one of them; none
            for samples.
        out: the folder for the shards, `plan.json` and `index.jsonl`; made if need be.
        directions: edit: a file of `glow-deploy directions`.
        settings: what is done; None for the defaults.
        where: it is done; None for this process.
        check: compare the sha256 of every shard of an earlier run, not its size alone.
        progress: told how many rows are done.

    Raises:
        UsageError: options that do not go together, or a folder of another run.
        DataError: an input is damaged or has changed, or a picture cannot be read and may not be left out. What was
            finished before stays.
        MissingDependencyError: Ray or `pyarrow` is needed and not installed.
        GlowDeployError: the model cannot be run, or cannot encode a picture.
    """
    kind: Action = as_choice("action", action, get_args(Action))  # type: ignore[assignment]  # it is one of them
    settings = BulkSettings() if settings is None else as_instance("settings", settings, BulkSettings)
    where = Where() if where is None else as_instance("where", where, Where)
    check, folder = as_flag("check", check), as_path("out", out)
    settings.check_for(kind)
    began = time.monotonic()
    files = files_of(kind, as_path("model", model), directions, where)
    facts = facts_of(kind, files, settings)
    shard_rows = settings.shard_rows or rows_of_a_shard(kind, settings, facts)
    check_pool(where)
    if settings.format == "parquet":
        import_arrow("writing Parquet shards")
    paths = as_several("inputs", inputs, as_path)
    if kind == "sample" and paths:
        raise UsageError("samples have no inputs; leave them out")
    if kind != "sample" and not paths:
        raise UsageError(f"there is nothing to {kind}: name folders of pictures, .parquet or .tar files")
    check_folder(folder, paths)
    check_directions(files, facts, settings)
    sources = find_sources(paths, column=settings.column)
    progress = _nobody if progress is None else progress
    with folder_lock(folder), open_pool(where) as pool:
        old = read_plan(folder)
        surveys = _survey(pool, sources, old, progress)
        plan = Plan(
            action=kind,
            options=options_of(kind, settings),
            files={name: sha256_file(path) for name, path in files.items()},
            format=settings.format,
            shard_rows=shard_rows,
            sources=tuple(_planned(source, found) for source, found in zip(sources, surveys, strict=True)),
        )
        plan.check_size()
        if old is not None and _holds_work(folder):
            need_same(old, plan, out=folder)
            plan, sources = _under_old_names(old, plan, sources)
        if plan != old:
            plan.write(folder)
        work = Work(
            plan=plan,
            out=str(folder.absolute()),
            files={name: str(path.absolute()) for name, path in files.items()},
            sources=sources,
            stamps=tuple(found.stamp for found in surveys),
            where=where,
            skip_unreadable=settings.skip_unreadable,
        )
        with Index(folder, plan.tasks()) as index:
            _sweep(folder)
            lost = index.drop_lost(check=check, progress=partial(progress, "checking the shards"))
            resumed = len(index.records)
            made = _make(pool, work, index, progress)
            missing = index.missing()
            if missing:
                raise DataError(f"{len(missing):,} shards were not made, the first {missing[0].shard}; run again")
            index.rewrite()
            _sweep(folder)
            records = index.ordered()
        workers = pool.workers
    return _result(kind, folder, records, lost, resumed, made=made, workers=workers, seconds=time.monotonic() - began)


def _nobody(_stage: str, _done: int, _total: int | None, /) -> None:
    """Nobody is told."""


def _make(pool: Pool, work: Work, index: Index, progress: StageProgress) -> int:
    """Make what is missing; returns how many rows."""
    missing = index.missing()
    if not missing:
        return 0
    total, doing = work.plan.rows, _DOING[work.plan.action]
    made = 0
    done = total - sum(task.last - task.first for task in missing)

    def within(rows: int) -> None:
        progress(doing, done + rows, total)

    within(0)
    for record in pool.work(work, missing, told=within):
        index.add(record)
        made += record.rows
        done += record.last - record.first
        within(0)
    return made


def _survey(pool: Pool, sources: Sequence[Source], old: Plan | None, progress: StageProgress) -> tuple[Survey, ...]:
    """Look at the inputs; one that lies where it lay, with the sizes and times of the plan, is not read again."""
    found: dict[Source, Survey] = {}
    if old is not None and len(old.sources) == len(sources):
        for source, before in zip(sources, old.sources, strict=True):
            if (before.kind, before.path, before.stamp) == (source.kind, source.path, stamp(source)):
                found[source] = Survey(rows=before.rows, sha256=before.sha256, stamp=before.stamp)
    new = [source for source in sources if source not in found]
    if new:
        found |= dict(pool.survey(new, progress=progress))
    return tuple(found[source] for source in sources)


def _planned(source: Source, found: Survey) -> PlannedSource:
    return PlannedSource(
        name=source.name,
        path=source.path,
        kind=source.kind,
        rows=found.rows,
        sha256=found.sha256,
        stamp=found.stamp,
    )


def _holds_work(folder: Path) -> bool:
    """False where a run has written its plan and nothing more: that plan binds nobody."""
    kept = [path for path in folder.iterdir() if path.name not in (PLAN, LOCK_NAME) and path.name[:1] != "."]
    return any(path.name != INDEX or path.stat().st_size for path in kept)


def _under_old_names(old: Plan, plan: Plan, sources: tuple[Source, ...]) -> tuple[Plan, tuple[Source, ...]]:
    """The same inputs at another place: all rows of a run are named after where it began."""
    names = [before.name for before in old.sources]
    planned = tuple(replace(source, name=name) for source, name in zip(plan.sources, names, strict=True))
    found = tuple(replace(source, name=name) for source, name in zip(sources, names, strict=True))
    return replace(plan, sources=planned), found


def _sweep(folder: Path) -> None:
    """Remove what killed workers left half-written, of any machine: nobody else is at work there."""
    for path in folder.glob(".*"):
        if is_temporary(path) or path.suffix == ".tries":
            with suppress(OSError):
                path.unlink()


def _result(
    action: Action,
    folder: Path,
    records: Sequence[Record],
    lost: Sequence[str],
    resumed: int,
    *,
    made: int,
    workers: int,
    seconds: float,
) -> BulkResult:
    measured = [
        (record.bits_per_dim, record.rows - record.nonfinite) for record in records if record.bits_per_dim is not None
    ]
    rows = sum(count for _, count in measured)
    return BulkResult(
        out=folder,
        action=action,
        shards=sum(record.rows > 0 for record in records),
        rows=sum(record.rows for record in records),
        bytes=sum(record.size for record in records),
        resumed=resumed,
        lost=tuple(lost),
        skipped=tuple(skipped for record in records for skipped in record.skipped),
        bits_per_dim=sum(bits * count for bits, count in measured) / rows if rows else None,
        nonfinite=sum(record.nonfinite for record in records),
        redrawn=sum(record.redrawn for record in records),
        backends=tuple(dict.fromkeys(record.backend for record in records)),
        workers=workers,
        made=made,
        seconds=seconds,
    )

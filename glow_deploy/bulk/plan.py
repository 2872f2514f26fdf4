"""The plan of a run: what is done with which rows, cut into tasks of one output shard each.

It lies in the output folder as `plan.json`. A later run in the same folder must have the same plan, and goes on where
the earlier one ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, get_args

from glow_core.own_files import refuse_link
from glow_deploy.artifact.files import atomic_write, read_regular
from glow_deploy.artifact.json_values import entry, sequence, table, text
from glow_deploy.errors import DataError, UsageError
from glow_deploy.printable import one_line, shown

from .settings import FORMATS, Action, BulkSettings, Format
from .sources import MOST_ROWS, Kind, parse_kind
from .values import digest, whole

__all__ = ["PLAN", "Plan", "PlannedSource", "Task", "need_same", "options_of", "read_plan"]

PLAN = "plan.json"
_VERSION = 1
_LONGEST = 1 << 30  # bytes
_MOST_SHARDS = 10**7  # one process holds a line of the index for each
_OF_PICTURES = ("labels", "best_class", "resize", "column", "batch")
_OPTIONS: Mapping[Action, tuple[str, ...]] = {
    "encode": ("draws", "seed", *_OF_PICTURES),
    "score": ("draws", "seed", *_OF_PICTURES),
    "sample": ("count", "seed", "temperature", "labels", "batch"),
    "edit": ("attributes", "beyond", *_OF_PICTURES),
}


@dataclass(frozen=True, kw_only=True)
class PlannedSource:
    """An input shard as it was when the run began. See `Source` and `Survey`; `path` is where it was seen last."""

    name: str
    path: str
    kind: Kind
    rows: int
    sha256: str
    stamp: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """One output shard.

    Attributes:
        shard: its file name.
        source: number of the input shard; -1 for samples, which have none.
        first: its first row in there, or the number of its first sample.
        last: the row after its last.
    """

    shard: str
    source: int
    first: int
    last: int

    @property
    def number(self) -> int:
        """Of its first row in the whole run: all that is random about a row depends on (seed, number) alone."""
        return max(self.source, 0) * MOST_ROWS + self.first


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run does.

    Attributes:
        action: with every row.
        options: how, as plain JSON values by name.
        files: sha256 of the files that decide the result, by what they are: `encoder`, `decoder`, `directions`.
        format: of the shards.
        shard_rows: rows of each.
        sources: inputs in their order; none for samples.
    """

    action: Action
    options: Mapping[str, Any]
    files: Mapping[str, str]
    format: Format
    shard_rows: int
    sources: tuple[PlannedSource, ...] = ()

    @property
    def rows(self) -> int:
        """Of all inputs, or samples."""
        return sum(source.rows for source in self.sources) if self.sources else int(self.options["count"])

    @property
    def shards(self) -> int:
        """How many tasks there are."""
        return sum(-(-rows // self.shard_rows) for rows in self._sizes())

    def check_size(self) -> None:
        """Refuse more shards than one process can hold the index of.

        Raises:
            UsageError: there are more than 10^7.
        """
        if self.shards > _MOST_SHARDS:
            raise UsageError(
                f"{self.shards:,} shards of {self.shard_rows:,} rows would be made; {_MOST_SHARDS:,} at most are kept "
                "an index of: give a larger shard_rows="
            )

    def tasks(self) -> Iterator[Task]:
        """Every task, in order."""
        sizes = self._sizes()
        digits = max(6, len(str(self.shards - 1)))
        number = 0
        for place, rows in enumerate(sizes):
            for first in range(0, rows, self.shard_rows):
                yield Task(
                    shard=f"{self.action}-{number:0{digits}d}.{self.format}",
                    source=place if self.sources else -1,
                    first=first,
                    last=min(first + self.shard_rows, rows),
                )
                number += 1

    def _sizes(self) -> list[int]:
        return [source.rows for source in self.sources] or [self.rows]

    def write(self, folder: Path) -> None:
        """Write it, whole or not at all."""
        document = {"schema": "glow_deploy.bulk_plan", "version": _VERSION, **asdict(self)}
        atomic_write(folder / PLAN, (json.dumps(document, indent=1, sort_keys=True) + "\n").encode())


def options_of(action: Action, settings: BulkSettings) -> dict[str, Any]:
    """Return the settings that decide what an action gives, as JSON would give them back."""
    chosen = {name: getattr(settings, name) for name in _OPTIONS[action]}
    plain: dict[str, Any] = json.loads(json.dumps(chosen))
    return plain


def read_plan(folder: Path) -> Plan | None:
    """Read the plan of an earlier run; None where there is none.

    Raises:
        DataError: it is damaged.
        UsageError: it is a link.
    """
    path = folder / PLAN
    refuse_link(path, error=UsageError)
    if not path.exists():
        return None
    data = read_regular(path, most=_LONGEST, error=DataError)
    try:
        return _plan(json.loads(data))
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = one_line(error, longest=200) or type(error).__name__
        raise DataError(f"{path} is damaged ({reason}); choose another out=") from error


def need_same(old: Plan, new: Plan, *, out: Path) -> None:
    """Refuse to go on with another run than the one that the folder is of.

    Raises:
        UsageError: something differs; the message says what.
    """
    difference = next(_differences(old, new), None)
    if difference is not None:
        raise UsageError(f"{out} is of another run: {difference}; choose another out=, or give what it began with")


def _differences(old: Plan, new: Plan) -> Iterator[str]:
    if old.action != new.action:
        yield f"it began as {old.action}, and this is {new.action}"
    for name, value in new.options.items():
        if old.options.get(name) != value:
            yield f"{name} was {_value(old.options.get(name))} and is {_value(value)}"
    if old.format != new.format:
        yield f"its shards are {old.format}, not {new.format}"
    if old.shard_rows != new.shard_rows:
        yield f"its shards have {old.shard_rows:,} rows, not {new.shard_rows:,}"
    for name, sha256 in new.files.items():
        if old.files.get(name) != sha256:
            yield f"the {name} is not the file that it began with"
    if len(old.sources) != len(new.sources):
        yield f"it began with {len(old.sources):,} inputs, and there are {len(new.sources):,} now"
    for before, now in zip(old.sources, new.sources, strict=False):
        if (before.kind, before.rows, before.sha256) != (now.kind, now.rows, now.sha256):
            moved = f"is not its {shown(before.name, longest=300)}"
            other = "has changed since it began" if before.name == now.name else moved
            yield f"the input {now.name} {other}"


def _value(value: object) -> str:
    return "not given" if value is None else one_line(json.dumps(value), longest=80)


def _plan(document: Any) -> Plan:
    values = table(document, "plan")
    if entry(values, "version", where="plan") != _VERSION:
        raise ValueError(f"version {values['version']!r} is not known")
    action, kind = text(values, "action", where="plan"), text(values, "format", where="plan")
    if action not in get_args(Action) or kind not in FORMATS:
        raise ValueError("action or format is not known")
    options = dict(table(values.get("options"), "plan.options"))
    if set(options) != set(_OPTIONS[action]):  # type: ignore[index]  # it is one of them
        raise ValueError("options are not those of its action")
    files = {str(name): digest(value, "plan.files") for name, value in table(values.get("files"), "plan.files").items()}
    sources = tuple(map(_planned, sequence(values.get("sources"), "plan.sources")))
    if not sources:
        whole(options.get("count"), "plan.options.count", least=1)
    return Plan(
        action=action,  # type: ignore[arg-type]  # it is one of them
        options=options,
        files=files,
        format=kind,
        shard_rows=whole(values.get("shard_rows"), "plan.shard_rows", least=1),
        sources=sources,
    )


def _planned(document: Any) -> PlannedSource:
    values = table(document, "source")
    return PlannedSource(
        name=text(values, "name", where="source"),
        path=text(values, "path", where="source"),
        kind=parse_kind(text(values, "kind", where="source")),
        rows=whole(values.get("rows"), "source.rows", least=1),
        sha256=digest(values.get("sha256"), "source"),
        stamp=digest(values.get("stamp"), "source"),
    )

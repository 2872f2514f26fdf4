"""The index of a run: one line of JSON for each finished shard, added when the shard is in its place.

What a killed process leaves is a file whose last line may be torn; that shard counts as not done. At the end of a run
the index is written once more in the order of the shards, so that it is the same however the work was spread.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from glow_core.own_files import open_own
from glow_deploy.artifact.files import atomic_write, sha256_file
from glow_deploy.artifact.json_values import sequence, table, text
from glow_deploy.data import LeftOut
from glow_deploy.errors import DataError, UsageError
from glow_deploy.printable import one_line
from glow_deploy.progress import CountProgress

from .plan import Task
from .values import digest, whole

__all__ = ["INDEX", "Index", "Record", "record_of"]

INDEX = "index.jsonl"
_LONGEST_LINE = 256 << 20  # bytes: every picture of a shard may be listed as skipped
_START = b'{"shard"'  # of every line


@dataclass(frozen=True, kw_only=True)
class Record:
    """A finished shard.

    Attributes:
        shard: its file name. Without rows there is no file.
        rows: in it.
        size: of the file in bytes.
        sha256: of the file; empty without one.
        source: name of the input; empty for samples.
        first: the first row in there, or the number of the first sample.
        last: the row after the last.
        backend: what ran, and on which device.
        skipped: what was left out.
        bits_per_dim: mean over the rows where it is finite; None where it is not measured, or nowhere finite.
        nonfinite: rows where it is not.
        redrawn: samples that had to be drawn again, or edits that were scaled back.
    """

    shard: str
    rows: int
    size: int
    sha256: str
    source: str
    first: int
    last: int
    backend: str
    skipped: tuple[LeftOut, ...] = ()
    bits_per_dim: float | None = None
    nonfinite: int = 0
    redrawn: int = 0

    def line(self) -> bytes:
        """Return it as a line of the index."""
        return (json.dumps(asdict(self), ensure_ascii=True) + "\n").encode()


class Index:
    """The index of an output folder, open for adding. A context manager.

    Args:
        folder: of the run.
        tasks: all of the run; a record of no task is refused.

    Raises:
        DataError: the index is damaged.
        UsageError: what bears its name is a link or no plain file, or it cannot be written.
    """

    def __init__(self, folder: Path, tasks: Iterable[Task]) -> None:
        self._path = folder / INDEX
        self._folder = folder
        self.tasks = {task.shard: task for task in tasks}
        self.records: dict[str, Record] = {}
        self._stream = self._open(os.O_RDWR | os.O_CREAT, "r+b")
        try:
            length = self._read()
            self._stream.truncate(length)  # a torn line at the end
            self._stream.seek(length)
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> Index:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stream.close()

    def add(self, record: Record) -> None:
        """Add a finished shard; it is on the disk when this returns. One that is there already is not doubled."""
        if record.shard in self.records:
            return
        self.records[record.shard] = record
        try:
            self._stream.write(record.line())
            self._stream.flush()
            os.fsync(self._stream.fileno())
        except OSError as error:
            raise UsageError(f"cannot write {self._path}: {error.strerror or error}; make room there") from error

    def drop_lost(self, *, check: bool, progress: CountProgress | None = None) -> list[str]:
        """Forget shards whose files are gone or not what was written, so that they are made again.

        Args:
            check: compare the sha256 of every file; otherwise its size.
            progress: told how many shards were looked at.

        Returns:
            Their names.
        """
        lost = []
        for number, record in enumerate(self.records.values(), start=1):
            if not self._is_there(record, check=check):
                lost.append(record.shard)
            if progress is not None:
                progress(number, len(self.records))
        for shard in lost:
            del self.records[shard]
        if lost:
            self.rewrite()
        return lost

    def missing(self) -> list[Task]:
        """Tasks without a record, in order."""
        return [task for shard, task in self.tasks.items() if shard not in self.records]

    def ordered(self) -> Sequence[Record]:
        """The records in the order of the shards."""
        return [self.records[shard] for shard in self.tasks if shard in self.records]

    def rewrite(self) -> None:
        """Write the whole index anew, in order."""
        self._stream.close()
        atomic_write(self._path, b"".join(record.line() for record in self.ordered()))
        self._stream = self._open(os.O_WRONLY | os.O_APPEND, "ab")

    def _open(self, flags: int, mode: str) -> IO[bytes]:
        try:
            return os.fdopen(open_own(self._path, flags, error=UsageError), mode)
        except OSError as error:
            raise UsageError(f"cannot write {self._path}: {error.strerror or error}; choose another out=") from error

    def _is_there(self, record: Record, *, check: bool) -> bool:
        if not record.rows:
            return True
        path = self._folder / record.shard
        try:
            if path.is_symlink() or path.stat().st_size != record.size:
                return False
        except OSError:
            return False
        return not check or sha256_file(path) == record.sha256

    def _read(self) -> int:
        """Read the records; returns how many bytes of the file hold whole ones."""
        length = 0
        while line := self._stream.readline(_LONGEST_LINE):
            if not line.endswith(b"\n"):
                if len(line) == _LONGEST_LINE:
                    raise DataError(f"{self._path} is damaged: a line does not end; choose another out=")
                if not (line.startswith(_START) or _START.startswith(line)):
                    raise DataError(f"{self._path} is damaged: its end is no line of an index; choose another out=")
                break
            try:
                record = record_of(json.loads(line))
                self._check(record)
            except (ValueError, TypeError, KeyError, RecursionError) as error:
                reason = one_line(error, longest=200) or type(error).__name__
                raise DataError(f"{self._path} is damaged ({reason}); choose another out=") from error
            self.records[record.shard] = record
            length += len(line)
        return length

    def _check(self, record: Record) -> None:
        task = self.tasks.get(record.shard)
        if task is None or (task.first, task.last) != (record.first, record.last):
            raise ValueError(f"{record.shard[:60]} is no shard of the plan")


def record_of(document: Any) -> Record:
    """Take a record out of JSON.

    Raises:
        ValueError: it is none.
    """
    values = table(document, "record")
    numbers = {
        name: whole(values.get(name), f"record.{name}")
        for name in ("rows", "size", "first", "last", "nonfinite", "redrawn")
    }
    bits = values.get("bits_per_dim")
    if bits is not None and not (isinstance(bits, float) and math.isfinite(bits)):
        raise ValueError("record.bits_per_dim is no finite number")
    skipped = [table(item, "record.skipped") for item in sequence(values.get("skipped"), "record.skipped")]
    return Record(
        shard=text(values, "shard", where="record"),
        sha256=digest(values.get("sha256"), "record") if numbers["rows"] else "",
        source=text(values, "source", where="record"),
        backend=text(values, "backend", where="record"),
        skipped=tuple(
            LeftOut(name=text(item, "name", where="skipped"), reason=text(item, "reason", where="skipped"))
            for item in skipped
        ),
        bits_per_dim=bits,
        **numbers,
    )

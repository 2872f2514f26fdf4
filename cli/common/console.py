"""What every command does with its output: a person's text on stdout, JSON where asked, progress on stderr."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .terminal import obeys_nothing

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.progress import Progress, TaskID

    from glow_deploy.progress import CountProgress

__all__ = ["RESULT_WRITTEN", "SCHEMA_VERSION", "Bars", "Output", "plain", "write_document"]

SCHEMA_VERSION = 1
"""Of every JSON document; it rises when a reader of the earlier form could misread the new one."""

RESULT_WRITTEN: ContextVar[bool] = ContextVar("result_written", default=False)
"""The command in hand has written its result as JSON. A verdict of unsound comes after that, and is told in it."""

_FILE_WIDTH = 120


class Bars:
    """Progress of a command: one bar, of the stage in hand. Long-running functions get one of its callbacks."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars
        self._task: TaskID | None = None
        self._stage = ""

    def stage(self, stage: str, done: int, total: int | None) -> None:
        """Report that `done` of `total` units of `stage` are done; None: the total is not known."""
        if self._task is None or stage != self._stage:
            if self._task is not None:
                self._bars.remove_task(self._task)
            self._stage = stage
            self._task = self._bars.add_task(stage, total=total, figure="")
        figure = f"{done:,}/{total:,}" if total else ""
        self._bars.update(self._task, completed=done, total=total, figure=figure)

    def describe(self, words: str, share: float) -> None:
        """Report a share of 0 to 1, with words that change all the time."""
        if self._task is None:
            self._task = self._bars.add_task(words, total=1.0, figure="")
        self._bars.update(self._task, description=words, completed=share, figure=f"{share:.0%}")

    def share(self, stage: str, share: float) -> None:
        """Report that a share of 0 to 1 of `stage` is done."""
        if self._task is not None and stage != self._stage:
            self._bars.remove_task(self._task)
            self._task = None
        self._stage = stage
        self.describe(stage, share)

    @contextmanager
    def hidden(self) -> Iterator[None]:
        """Take the bar off the terminal while the block prints lines of its own."""
        if self._bars.disable:
            yield
            return
        self._bars.stop()
        try:
            yield
        finally:
            self._bars.start()

    def counter(self, stage: str) -> CountProgress:
        """Return a callback `(done, total)` that reports on one stage."""

        def report(done: int, total: int) -> None:
            self.stage(stage, done, total)

        return report


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a command's words go.

    Attributes:
        quiet: print nothing but errors, and show no progress.
        json: a file for the result as JSON, `-` for stdout (the text for people is then left out), or None.
    """

    quiet: bool = False
    json: str | None = None
    console: Console = field(init=False)

    def __post_init__(self) -> None:
        _check_json_target(self.json)
        object.__setattr__(self, "console", _console(quiet=self.quiet or self.json == "-"))

    @property
    def speaks(self) -> bool:
        """True where people get to read anything."""
        return not self.console.quiet

    def say(self, text: str) -> None:
        """Print one line as it stands: brackets in file names are no markup, long lines are not broken.

        Line ends before it are kept. Others come from a name in a file that would pass for a line of ours.
        """
        line = text.lstrip("\n")
        ends = text[: len(text) - len(line)]
        self.console.print(ends + "?".join(line.splitlines()), markup=False)

    def show(self, renderable: RenderableType) -> None:
        """Print a table or another rich object, fitted to the terminal's width."""
        self.console.print(renderable, soft_wrap=False)

    def write_json(self, value: object, *, schema: str) -> None:
        """Write `value` where `--json` said; nothing if it was not given.

        Args:
            value: a dataclass or a mapping. One that names a schema already is written as it is.
            schema: name of the command, which tells readers what to expect: docs/schemas/NAME.schema.json.
        """
        if self.json is not None:
            write_document(self.json, plain(value), schema=schema)
            RESULT_WRITTEN.set(True)

    @contextmanager
    def progress(self) -> Iterator[Bars]:
        """Draw bars on stderr while the block runs; nothing if quiet or not on a terminal."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        console = obeys_nothing(Console(stderr=True, highlight=False))
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[figure]}", markup=False),
            TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        )
        off = self.quiet or not console.is_terminal
        with Progress(*columns, console=console, transient=True, disable=off) as bars:
            yield Bars(bars)


def _console(*, quiet: bool) -> Console:
    from rich.console import Console

    class _Console(Console):
        def on_broken_pipe(self) -> None:
            # Rich would exit with 1, which here means an unsound model.
            raise BrokenPipeError

    console = _Console(highlight=False, quiet=quiet, soft_wrap=True)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _FILE_WIDTH  # a file or a pipe has no width of its own; 80 would break the wider tables
    return obeys_nothing(console)


def _check_json_target(target: str | None) -> None:
    """Refuse a place that cannot be written before the work whose result would be lost.

    A folder that is not there yet may be the one that the command is about to make.
    """
    from glow_deploy.errors import UsageError

    if target == "-" and sys.stdout is None:
        raise UsageError("--json -: standard output is closed; name a file")
    if target is None or target == "-":
        return
    path = Path(target)
    if path.is_dir() or not (path.parent.is_dir() or path.parent.parent.is_dir()):
        raise UsageError(f"--json {target}: {'that is a folder' if path.is_dir() else 'no such folder'}; name a file")


def write_document(target: str, content: Mapping[str, Any], *, schema: str) -> None:
    """Write a JSON document that says what it is: to a file, or to stdout for `-`.

    Args:
        target: as given with `--json`.
        content: plain values. Its own `schema` and `schema_version`, if it has them, stand.
        schema: name without the prefix `glow_deploy.`.
    """
    named = {"schema": f"glow_deploy.{schema}", "schema_version": SCHEMA_VERSION, **content}
    text = json.dumps(named, indent=2, allow_nan=False) + "\n"
    if target == "-":
        _check_json_target(target)
        sys.stdout.write(text)
        sys.stdout.flush()
    else:
        from glow_deploy.artifact.files import atomic_write

        atomic_write(Path(target), text.encode())


def plain(value: object) -> Any:
    """Turn dataclasses, paths, NumPy values and non-finite numbers into what strict JSON can hold.

    A non-finite number becomes the string `nan`, `inf` or `-inf`: JSON has none, and null would hide that it was
    measured.
    """
    import dataclasses

    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {item.name: plain(getattr(value, item.name)) for item in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if hasattr(value, "tolist"):  # NumPy arrays and scalars
        return plain(value.tolist())
    return str(value)

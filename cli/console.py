"""What every command does with its output: a person's text on stdout, JSON where asked, progress on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

__all__ = ["Output", "ProgressCallback", "plain"]


class ProgressCallback(Protocol):
    """How long-running functions tell where they are."""

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        """Report `done` of `total` units of `stage`; None: the total is not known."""
        ...


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
        from rich.console import Console

        silent = self.quiet or self.json == "-"
        object.__setattr__(self, "console", Console(highlight=False, quiet=silent, soft_wrap=True))

    def say(self, text: str) -> None:
        """Print text as it stands: brackets in file names are no markup, long lines are not broken."""
        self.console.print(text, markup=False)

    def show(self, renderable: RenderableType) -> None:
        """Print a table or another rich object, fitted to the terminal's width."""
        self.console.print(renderable, soft_wrap=False)

    def write_json(self, value: object) -> None:
        """Write `value` where `--json` said; nothing if it was not given."""
        if self.json is None:
            return
        text = json.dumps(plain(value), indent=2, allow_nan=False) + "\n"
        if self.json == "-":
            sys.stdout.write(text)
        else:
            from glow_deploy.files import atomic_write

            atomic_write(Path(self.json), text.encode())

    @contextmanager
    def progress(self) -> Iterator[ProgressCallback]:
        """Give a callback that draws one bar a stage on stderr; draws nothing if quiet or not on a terminal."""
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TaskID,
            TextColumn,
            TimeElapsedColumn,
        )

        console = Console(stderr=True, highlight=False)
        tasks: dict[str, TaskID] = {}
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=console, transient=True, disable=self.quiet or not console.is_terminal) as bars:

            def report(stage: str, done: int, total: int | None) -> None:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(stage, total=total)
                bars.update(tasks[stage], completed=done, total=total)

            yield report


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

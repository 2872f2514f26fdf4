"""What is being measured, in pytest's own terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

__all__ = ["TerminalLine"]

_SECONDS = 0.2  # between two changes of a line


class TerminalLine:
    """Writes a line where a measurement begins and ends, and what it does meanwhile on a terminal.

    Silent with `-q`, in the workers of pytest-xdist and wherever pytest has no terminal.

    Args:
        config: of the session.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._next = 0.0

    def start(self, words: str) -> None:
        """Say what begins."""
        reporter = self._reporter()
        if reporter is not None:
            reporter.write_line(f"glow-deploy: {words}")

    def stage(self, what: str, done: int, total: int | None) -> None:
        """Show a stage on one changing line."""
        reporter, now = self._reporter(), time.monotonic()
        if reporter is not None and reporter.isatty and now >= self._next:
            self._next = now + _SECONDS
            reporter.rewrite(f"glow-deploy: {what} {done if total is None else f'{done}/{total}'}", erase=True)

    def stop(self, words: str) -> None:
        """Say what is done."""
        reporter = self._reporter()
        if reporter is not None:
            if reporter.isatty:
                reporter.rewrite("", erase=True)
            reporter.write_line(f"glow-deploy: {words}")

    def _reporter(self) -> pytest.TerminalReporter | None:
        reporter: pytest.TerminalReporter | None = self._config.pluginmanager.get_plugin("terminalreporter")
        return reporter if reporter is not None and self._config.get_verbosity() >= 0 else None

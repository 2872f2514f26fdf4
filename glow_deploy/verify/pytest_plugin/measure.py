"""One verification per bundle and session, however many tests look at it and however many workers run them."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from glow_deploy.artifact.files import atomic_write
from glow_deploy.errors import GlowDeployError
from glow_deploy.verify import verify, write_html
from glow_deploy.verify.regression import Baseline

from .judge import Report
from .options import Options, target_of
from .progress import TerminalLine

__all__ = ["Case", "Measurement", "Measurements"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One bundle to be verified.

    Attributes:
        index: its place among the bundles of the session.
        bundle: the folder.
        backends: to be run; None for every one that is usable.
        baseline: to be compared with, or None.
    """

    index: int
    bundle: Path
    backends: tuple[str, ...] | None
    baseline: Baseline | None


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What came of it: a report, or why there is none."""

    report: Report | None = None
    error: str = ""


class Measurements:
    """Measures each bundle when it is first asked for.

    Args:
        options: of the session.
        progress: where to say what is being done.
        shared: a folder that all workers of a session see, where the first one to measure a bundle leaves the result
            for the others; None where there is one process.
    """

    def __init__(self, options: Options, *, progress: TerminalLine, shared: Path | None = None) -> None:
        self._options = options
        self._progress = progress
        self._shared = shared
        self._known: dict[int, Measurement] = {}

    def of(self, case: Case) -> Measurement:
        """Return the result for a bundle. Never raises but for an interrupt: what went wrong is the result."""
        if case.index not in self._known:
            try:
                self._known[case.index] = self._measure_once(case)
            except (GlowDeployError, OSError) as error:
                text = f"{case.bundle}: its result cannot be shared between the workers: {error}"
                self._known[case.index] = Measurement(error=text)
        return self._known[case.index]

    def known(self, index: int) -> Measurement | None:
        """Return the result for a bundle if it was measured, by this process or another."""
        return self._known.get(index) or (self._stored(index) if self._shared is not None else None)

    def _measure_once(self, case: Case) -> Measurement:
        if self._shared is None:
            return self._measure(case)
        with _exclusive(self._shared / f"{case.index}.lock"):
            found = self._stored(case.index)
            if found is None:
                found = self._measure(case)
                text = json.dumps({"report": found.report, "error": found.error}, allow_nan=False)
                atomic_write(self._shared / f"{case.index}.json", text.encode())
            return found

    def _stored(self, index: int) -> Measurement | None:
        assert self._shared is not None
        try:
            values = json.loads((self._shared / f"{index}.json").read_bytes())
        except FileNotFoundError:
            return None
        return Measurement(report=values["report"], error=values["error"])

    def _measure(self, case: Case) -> Measurement:
        self._progress.start(f"measuring {case.bundle}")
        started = time.monotonic()
        try:
            report = self._report(case)
        except GlowDeployError as error:
            return Measurement(error=" ".join(f"{case.bundle}: {error}".split()))
        except Exception:
            return Measurement(error=f"{case.bundle} could not be measured\n{traceback.format_exc()}")
        finally:
            self._progress.stop(f"measured {case.bundle} in {time.monotonic() - started:.1f} s")
        return Measurement(report=report)

    def _report(self, case: Case) -> dict[str, Any]:
        options = self._options
        baseline = None if case.baseline is None else Path(case.baseline.file)
        settings = replace(options.settings, backends=case.backends, baseline=baseline)
        found = verify(case.bundle, settings=settings, progress=self._progress.stage)
        values = found.to_dict()
        if options.json is not None:
            text = json.dumps(values, indent=2, allow_nan=False) + "\n"
            atomic_write(target_of(options.json, case.bundle, bundles=options.bundles), text.encode())
        if options.report is not None:
            write_html(found, target_of(options.report, case.bundle, bundles=options.bundles))
        return values


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Let one process at a time into the block; the system lets go of the lock when its holder dies."""
    try:
        import fcntl
    except ImportError:  # Windows: every worker that needs a bundle measures it
        yield
        return
    with path.open("wb") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield

"""TensorRT's build phases as calls of one function, and the way to stop a build."""

from __future__ import annotations

from typing import Any

from glow_deploy.interrupts import Deferred
from glow_deploy.progress import ShareProgress

__all__ = ["make_monitor"]


def make_monitor(trt: Any, progress: ShareProgress | None, interrupted: Deferred) -> Any:
    """Return an `IProgressMonitor` that reports the outermost phase with steps of its own.

    An exception must not cross TensorRT's C++ frames. What `progress` raises is kept as the monitor's `failure`, and
    the build is cancelled, as it is where a signal waits.

    Args:
        trt: the module of a flavour.
        progress: called with a phase and the share of it that is done; None for nothing.
        interrupted: true where the build is to stop.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.failure: BaseException | None = None
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            self._tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1)
            return self.failure is None and not interrupted

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

        def _tell(self, phase_name: str, step: int) -> None:
            total = self._steps.get(phase_name, 0)
            if progress is None or not total or phase_name != next(iter(self._steps)):
                return
            try:
                progress(phase_name, min(step / total, 1.0))
            except BaseException as error:
                self.failure = self.failure or error

    return Monitor()

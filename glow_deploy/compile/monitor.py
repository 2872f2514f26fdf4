"""TensorRT's build phases as calls of one function, and Ctrl-C while it builds."""

from __future__ import annotations

from typing import Any

from glow_deploy.progress import ShareProgress

__all__ = ["make_monitor"]


def make_monitor(trt: Any, progress: ShareProgress) -> Any:
    """Return an `IProgressMonitor` that reports the outermost phase with steps of its own.

    Its `interrupted` tells whether Ctrl-C came during a call: an exception must not cross TensorRT's C++ frames, so the
    build is cancelled instead and the caller raises.
    """

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.interrupted = False
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self._steps[phase_name] = num_steps
            self._tell(phase_name, 0)

        def step_complete(self, phase_name: str, step: int) -> bool:
            self._tell(phase_name, step + 1)
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            self._steps.pop(phase_name, None)

        def _tell(self, phase_name: str, step: int) -> None:
            total = self._steps.get(phase_name, 0)
            if not total or phase_name != next(iter(self._steps)):
                return
            try:
                progress(phase_name, min(step / total, 1.0))
            except KeyboardInterrupt:
                self.interrupted = True

    return Monitor()

"""Options of standard TensorRT: portability, how hard to search for kernels, and the timing cache."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from glow_deploy.artifact.files import atomic_path, read_regular
from glow_deploy.artifact.folders import check_writable
from glow_deploy.errors import CompileError

from .settings import CompileSettings

__all__ = ["TimingCache", "configure_tensorrt"]

_MOST_CACHE = 1 << 30  # bytes; a cache has kilobytes to a few megabytes


def configure_tensorrt(trt: Any, config: Any, settings: CompileSettings) -> None:
    """Set optimization level, version and hardware compatibility."""
    if settings.opt_level is not None:
        config.builder_optimization_level = settings.opt_level
    if settings.version_compatible:
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        # Otherwise the plan carries the lean runtime, host code that engines of ours are never allowed to load.
        config.set_flag(trt.BuilderFlag.EXCLUDE_LEAN_RUNTIME)
    if settings.hardware_compatible:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS


class TimingCache:
    """Kernel timings, shared by the builds of one run and kept in a file if one is named.

    With it the encoder and the decoder, whose conditioners are the same convolutions, get the same kernels.

    Args:
        path: the file, which need not exist; None keeps the timings in memory.

    Raises:
        CompileError: its folder does not exist, or the file cannot be read.
        UsageError: its folder cannot be written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._data = b""
        if path is None:
            return
        # Found out now rather than after minutes of building.
        if not path.parent.is_dir():
            raise CompileError(f"timing cache {path}: there is no folder {path.parent}; create it or name another file")
        check_writable(path.parent)
        if path.exists():
            self._data = read_regular(path, most=_MOST_CACHE, error=CompileError)

    def attach(self, config: Any) -> None:
        """Give the timings to a build.

        Raises:
            CompileError: TensorRT does not accept them.
        """
        cache = config.create_timing_cache(self._data)
        if cache is None or not config.set_timing_cache(cache, ignore_mismatch=False):
            raise CompileError(
                f"timing cache {self._path} is damaged or was made by another TensorRT or GPU: delete it"
            )

    def collect(self, config: Any) -> None:
        """Take the timings out of a finished build."""
        cache = config.get_timing_cache()
        if cache is not None:
            self._data = bytes(cache.serialize())

    def save(self, stack: ExitStack) -> None:
        """Write the timings beside the file, if one was named and there are any, and rename them as `stack` is left.

        What was entered before is renamed after it: where the timings cannot be written, no plan is replaced.
        """
        if self._path is not None and self._data:
            stack.enter_context(atomic_path(self._path)).write_bytes(self._data)

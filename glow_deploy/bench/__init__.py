"""How fast engines run, and what share of the machine's arithmetic they reach.

Light to import, because `glow_deploy` itself imports it: what measures is loaded when it is first used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from glow_deploy.arguments import as_path
from glow_deploy.settings import settings_of

if TYPE_CHECKING:
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.progress import CountProgress

    from .run import BenchReport, Timing, time_engine
    from .settings import BenchOptions, BenchSettings

__all__ = ["BenchReport", "BenchSettings", "Timing", "bench", "time_engine"]


def bench(
    path: Bundle | str | Path,
    *,
    settings: BenchSettings | None = None,
    ckpt: str | Path | None = None,
    progress: CountProgress | None = None,
    **options: Unpack[BenchOptions],
) -> BenchReport:
    """Time a bundle on every backend asked for, or one engine file.

    Args:
        path: a bundle, its folder, an ONNX file or a plan.
        settings: what to measure; None for the defaults. Or the same as keyword arguments.
        ckpt: the checkpoint a bundle was exported from, to time PyTorch too.
        progress: called with (done, total) after each engine and batch.
        **options: see below.

    Options:
        backends=None: names as `verify` knows them, or one; None for every one usable here.
        roles=("encoder", "decoder"): the engines of a bundle to run.
        batches=(1, 16): batch sizes.
        warmup_seconds=0.5: runs before the clock counts, at least two of them.
        duration=3.0: seconds of measured runs for each engine and batch.
        iterations=None: number of measured runs, instead of `duration`.
        cuda_graphs=True: replay TensorRT's work as CUDA graphs.
        threads=None: CPU threads for ONNX Runtime; None leaves the choice to it.
        device="auto": `auto`, `cpu`, `cuda` or `cuda:N`.
        trust_engine=False: run plans without a matching sidecar; a plan is executable code.

    Raises:
        UsageError: an option is unknown, of the wrong kind or out of range.
        GlowDeployError: a file cannot be opened, or a backend asked for is not usable here.
    """
    from glow_deploy.artifact.bundle import Bundle

    from .run import run_bench
    from .settings import BenchSettings

    chosen = settings_of(settings, options, BenchSettings, caller="bench", others=("ckpt", "progress"))
    place = path.path if isinstance(path, Bundle) else as_path("path", path)
    trained = None if ckpt is None else as_path("ckpt", ckpt)
    return run_bench(place, settings=chosen, ckpt=trained, progress=progress)


def __getattr__(name: str) -> object:
    match name:
        case "BenchReport":
            from .run import BenchReport

            return BenchReport
        case "BenchSettings":
            from .settings import BenchSettings

            return BenchSettings
        case "Timing":
            from .run import Timing

            return Timing
        case "time_engine":
            from .run import time_engine

            return time_engine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, "__doc__"])

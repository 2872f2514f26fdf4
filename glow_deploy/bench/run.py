"""How fast engines run: latency percentiles, images per second, and the share of the machine's matrix-product rate."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from glow_deploy.errors import EngineError, MissingDependencyError
from glow_deploy.progress import CountProgress
from glow_deploy.protocol import Engine, Role

from .matrix_rate import MatrixRate, matrix_rate
from .plan import Candidate, arithmetic, plan_bundle, plan_file
from .settings import BenchSettings

__all__ = ["BenchReport", "Timing", "run_bench", "time_engine"]

_SEED = 0


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One engine at one batch size.

    Attributes:
        backend: as in `EngineDetails`.
        device: what it ran on.
        role: `encoder` or `decoder`.
        batch: images a run.
        runs: measured runs.
        p50_ms: median latency of a run, milliseconds, copies to and from the device included.
        p90_ms: 90th percentile.
        p99_ms: 99th percentile; the maximum where there are fewer than 100 runs.
        mean_ms: mean.
        images_per_second: images over the whole measured time.
        flops_per_image: floating-point operations of the convolutions for one image; None if unknown.
        matrix_share: the rate of that arithmetic at the median latency, as a share of the machine's matrix-product
            rate; None for engines that do not run on the CPU.
        cuda_graphs: whether CUDA graphs were asked for.
    """

    backend: str
    device: str
    role: Role
    batch: int
    runs: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    images_per_second: float
    flops_per_image: int | None
    matrix_share: float | None
    cuda_graphs: bool


@dataclass(frozen=True, kw_only=True, repr=False)
class BenchReport:
    """All timings of a run.

    Attributes:
        source: the bundle or engine file.
        timings: one an engine and batch.
        absent: backend -> why it did not run.
        rate: the machine's matrix-product rate; None where there is no graph to take sizes from.
        versions: package -> version of everything that ran.
    """

    source: str
    timings: tuple[Timing, ...]
    absent: Mapping[str, str]
    rate: MatrixRate | None
    versions: Mapping[str, str]

    def __repr__(self) -> str:
        rows = "; ".join(f"{row.backend} {row.role} x{row.batch} {row.p50_ms:.2f} ms" for row in self.timings[:4])
        return f"BenchReport({self.source}: {rows}{'; ...' if len(self.timings) > 4 else ''})"


def run_bench(
    path: str | Path,
    *,
    settings: BenchSettings,
    ckpt: str | Path | None = None,
    progress: CountProgress | None = None,
) -> BenchReport:
    """Do what `glow_deploy.bench` says."""
    path = Path(path)
    plan, graphs = plan_bundle(path, settings, ckpt) if path.is_dir() else plan_file(path, settings, ckpt)
    flops, shapes = arithmetic(graphs, max(settings.batches))
    timings: list[Timing] = []
    absent: dict[str, str] = {}
    versions = {"numpy": np.__version__}
    rate: MatrixRate | None = None
    for index, candidate in enumerate(plan):
        if candidate.backend not in absent:  # its other engine may be
            # One engine at a time: the waiting threads of another would take part of the machine.
            try:
                engine = candidate.open()
            except (MissingDependencyError, EngineError) as error:
                if candidate.asked_for:
                    raise
                absent[candidate.backend] = str(error)
                continue
            with engine:
                versions |= engine.details.versions
                if rate is None and shapes and engine.details.device == "cpu":
                    rate = matrix_rate(shapes, threads=settings.threads)
                for batch in settings.batches:
                    timings.append(_time(engine, batch, settings, flops.get(engine.role), rate))
                    if progress is not None:
                        progress(index * len(settings.batches) + settings.batches.index(batch), _total(plan, settings))
        if progress is not None:
            progress((index + 1) * len(settings.batches), _total(plan, settings))
    if not timings:
        raise MissingDependencyError(
            f"no backend can run {path} here: " + "; ".join(f"{name}: {reason}" for name, reason in absent.items())
        )
    return BenchReport(source=str(path), timings=tuple(timings), absent=absent, rate=rate, versions=versions)


def time_engine(engine: Engine, batch: int, *, settings: BenchSettings) -> np.ndarray:
    """Run an engine on random inputs of its own distribution and return the latency of each run, float64 seconds."""
    feeds = _feeds(engine, batch)
    end = time.perf_counter() + settings.warmup_seconds
    for run in range(1 << 30):
        if run >= 2 and time.perf_counter() >= end:
            break
        engine.run(feeds)
    times: list[float] = []
    begin = time.perf_counter()
    while _more(len(times), time.perf_counter() - begin, settings):
        start = time.perf_counter()
        engine.run(feeds)
        times.append(time.perf_counter() - start)
    return np.array(times)


def _more(runs: int, elapsed: float, settings: BenchSettings) -> bool:
    if settings.iterations is not None:
        return runs < settings.iterations
    return runs < 10 or elapsed < settings.duration


def _time(engine: Engine, batch: int, settings: BenchSettings, flops: int | None, rate: MatrixRate | None) -> Timing:
    times = time_engine(engine, batch, settings=settings)
    details = engine.details
    p50, p90 = np.percentile(times, [50, 90])
    p99 = np.percentile(times, 99) if len(times) >= 100 else times.max()
    share = None
    if details.device == "cpu" and flops is not None and rate is not None:
        share = flops * batch / float(p50) / rate.flops_per_second
    return Timing(
        backend=details.backend,
        device=details.device,
        role=engine.role,
        batch=batch,
        runs=len(times),
        p50_ms=float(p50) * 1e3,
        p90_ms=float(p90) * 1e3,
        p99_ms=float(p99) * 1e3,
        mean_ms=float(times.mean()) * 1e3,
        images_per_second=batch * len(times) / float(times.sum()),
        flops_per_image=flops,
        matrix_share=share,
        cuda_graphs=settings.cuda_graphs and details.backend.startswith("tensorrt"),
    )


def _feeds(engine: Engine, batch: int) -> dict[str, np.ndarray]:
    """Pictures in [0, 1) for an encoder, latents at temperature 0.7 for a decoder: speed can hang on the values.

    The classes of a class-conditional model take turns, so that their tables are really looked up.
    """
    generator = np.random.default_rng(_SEED)
    feeds: dict[str, np.ndarray] = {}
    for spec in engine.inputs:
        shape = (batch, *spec.shape)
        if spec.name == "y":
            feeds[spec.name] = np.arange(batch, dtype=np.int64) % (engine.num_classes or 1)
        elif spec.name == "x":
            feeds[spec.name] = generator.random(shape).astype(spec.dtype)
        else:
            feeds[spec.name] = (0.7 * generator.standard_normal(shape)).astype(spec.dtype)
    return feeds


def _total(plan: list[Candidate], settings: BenchSettings) -> int:
    return len(plan) * len(settings.batches)

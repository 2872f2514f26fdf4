"""`glow-deploy bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..common.console import Output
from ..common.options import Backends, Checkpoint, Device, Json, Quiet, TrustEngine

if TYPE_CHECKING:
    from glow_deploy.bench import BenchReport


def bench(
    path: Annotated[Path, typer.Argument(metavar="BUNDLE|ENGINE", help="A bundle, an ONNX file or a plan.")],
    backend: Backends = None,
    role: Annotated[Literal["both", "encoder", "decoder"], typer.Option(help="Which engines of a bundle.")] = "both",
    batch: Annotated[str, typer.Option(metavar="N[,N...]", help="Batch sizes.")] = "1,16",
    iterations: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Measured runs; without it, --duration counts.")
    ] = None,
    duration: Annotated[
        float, typer.Option(metavar="X", min=0.01, help="Seconds of measured runs for each engine and batch.")
    ] = 3.0,
    warmup_ms: Annotated[
        float, typer.Option(metavar="X", min=0, help="Milliseconds of runs before the clock counts.")
    ] = 500.0,
    cuda_graph: Annotated[
        bool, typer.Option("--cuda-graph/--no-cuda-graph", help="Replay plans as CUDA graphs.")
    ] = True,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, help="CPU threads for ONNX Runtime.")] = None,
    ckpt: Checkpoint = None,
    device: Device = "auto",
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Measure latency and images per second on every backend usable here.

    On the CPU, the share says how much of this machine's own matrix-product rate the convolutions reach.
    """
    from glow_deploy.bench import BenchSettings
    from glow_deploy.bench import bench as measure

    output = Output(quiet=quiet, json=json)
    settings = BenchSettings(
        backends=tuple(backend) if backend else None,
        roles=("encoder", "decoder") if role == "both" else (role,),
        batches=_sizes(batch),
        warmup_seconds=warmup_ms / 1e3,
        duration=duration,
        iterations=iterations,
        cuda_graphs=cuda_graph,
        threads=threads,
        device=device,
        trust_engine=trust_engine,
    )
    with output.progress() as bars:
        report = measure(path, settings=settings, ckpt=ckpt, progress=bars.counter("measuring"))
    output.write_json(report, schema="bench")
    _show(report, output)


def _show(report: BenchReport, output: Output) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("backend")
    table.add_column("role")
    for column in ("batch", "p50 ms", "p90 ms", "p99 ms", "images/s", "share", "runs"):
        table.add_column(column, justify="right")
    for timing in report.timings:
        name = f"{timing.backend}, CUDA graph" if timing.cuda_graphs else timing.backend
        share = "" if timing.matrix_share is None else f"{timing.matrix_share:.0%}"
        latencies = (f"{value:.3g}" for value in (timing.p50_ms, timing.p90_ms, timing.p99_ms))
        rate = f"{timing.images_per_second:,.1f}"
        table.add_row(name, timing.role, str(timing.batch), *latencies, rate, share, str(timing.runs))
    output.show(table)
    for name, reason in report.absent.items():
        output.say(f"{name}: not run: {reason}")
    if report.rate is not None:
        rows, inner, columns = report.rate.shape
        output.say(
            f"share: of {report.rate.flops_per_second / 1e9:,.1f} GFLOP/s, what {report.rate.library} reaches here on "
            f"a float32 product of {rows}x{inner} and {inner}x{columns}"
        )
    output.say(", ".join(f"{name} {version}" for name, version in report.versions.items()))


def _sizes(text: str) -> tuple[int, ...]:
    from glow_deploy.errors import UsageError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdecimal() and len(part) <= 9 and int(part) > 0 for part in parts):
        raise UsageError(f"--batch is {text[:32]!r}; give sizes such as 1,16")
    return tuple(dict.fromkeys(int(part) for part in parts))

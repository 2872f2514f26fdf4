"""`glow-deploy verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..common.console import Output
from ..common.openmp import wait_briefly
from ..common.options import Backends, Batch, Checkpoint, Data, Device, Json, Quiet, Resize, Seed, Threads, TrustEngine


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="As `export` writes it.")],
    backend: Backends = None,
    ckpt: Checkpoint = None,
    data: Data = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most this many images of --data.")] = None,
    resize: Resize = False,
    steps: Annotated[
        bool, typer.Option("--steps", help="Also the error after every step of flow, and the error budget.")
    ] = False,
    steps_images: Annotated[int, typer.Option(metavar="N", min=1, help="Images that --steps looks at.")] = 16,
    stress: Annotated[
        bool,
        typer.Option(
            "--stress",
            help="Also foreign images, hot latents, repeated passes and runs; with --ckpt a half-bin attack.",
        ),
    ] = False,
    baseline: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Compare with a report of an earlier run (--json); exit 1 on a rise."),
    ] = None,
    baseline_factor: Annotated[
        float, typer.Option(metavar="X", min=1.0, help="What an error may grow to, as a multiple of the baseline's.")
    ] = 1.5,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Also write the report as one HTML file.")
    ] = None,
    random_draws: Annotated[
        int, typer.Option(metavar="N", min=0, help="Latents drawn at random for each temperature; reported, not gated.")
    ] = 64,
    seed: Seed = 0,
    batch: Batch = 32,
    device: Device = "auto",
    threads: Threads = None,
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Measure whether a bundle is still an invertible flow, on every pair of backends.

    Encodes on A and decodes on B for all backends usable here, and compares latents and likelihood with the trained
    model in float64. Works from the bundle's golden vectors alone; --data adds fresh images, --ckpt the trained model
    itself. Three verdicts, kept apart: round trip, likelihood, samples. Exit code 1 if a gate is missed or an error
    rose above the --baseline; nothing is written but --json and --report.
    """
    wait_briefly()
    from glow_deploy.errors import UnsoundModelError, UsageError
    from glow_deploy.verify import VerifySettings, check_report_target, report_tables, write_html
    from glow_deploy.verify import verify as measure

    output = Output(quiet=quiet, json=json)
    settings = VerifySettings(
        backends=tuple(backend) if backend else None,
        ckpt=ckpt,
        data=data,
        limit=limit,
        batch=batch,
        device=device,
        resize=resize,
        threads=threads,
        trust_engine=trust_engine,
        random_draws=random_draws,
        seed=seed,
        steps=steps,
        steps_images=steps_images,
        stress=stress,
        baseline=baseline,
        baseline_factor=baseline_factor,
    )
    if json is not None and json != "-" and not Path(json).parent.is_dir():
        raise UsageError(f"--json {json}: no such folder; name a file in one that is there")
    if report is not None:
        check_report_target(report)
        if json is not None and json != "-" and Path(json).resolve() == report.resolve():
            raise UsageError(f"--json and --report both name {report}; give each a file of its own")
    with output.progress() as bars:
        found = measure(bundle, settings=settings, progress=bars.stage)
    output.show(report_tables(found))
    output.write_json(found.to_dict(), schema="verify")
    if report is not None:
        write_html(found, report)
        output.say(f"wrote {report}")
    if not found.sound:
        first = f"first: {found.failures[0]}" if found.failures else "nothing was examined"
        raise UnsoundModelError(f"{bundle} is unsound: {len(found.failures)} gates missed; {first}")
    if found.baseline is not None and not found.baseline.passed:
        raise UnsoundModelError(f"{bundle} is sound, but {found.baseline}")

"""`glow-deploy verify`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .console import Output
from .openmp import wait_briefly
from .options import Backends, Batch, Checkpoint, Data, Device, Json, Quiet, Resize, Seed, TrustEngine


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="As `export` writes it.")],
    backend: Backends = None,
    ckpt: Checkpoint = None,
    data: Data = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most this many images of --data.")] = None,
    resize: Resize = False,
    random_draws: Annotated[
        int, typer.Option(metavar="N", min=0, help="Latents drawn at random for each temperature; reported, not gated.")
    ] = 64,
    seed: Seed = 0,
    batch: Batch = 32,
    device: Device = "auto",
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Measure whether a bundle is still an invertible flow, on every pair of backends.

    Encodes on A and decodes on B for all backends usable here, and compares latents and likelihood with the trained
    model in float64. Works from the bundle's golden vectors alone; --data adds fresh images, --ckpt the trained model
    itself. Exit code 1 if a gate is missed; nothing is written but --json.
    """
    wait_briefly()
    from glow_deploy.errors import UnsoundModelError
    from glow_deploy.verify import VerifySettings, report_tables
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
        trust_engine=trust_engine,
        random_draws=random_draws,
        seed=seed,
    )
    with output.progress() as bars:
        report = measure(bundle, settings=settings, progress=bars.stage)
    output.show(report_tables(report))
    output.write_json(report.to_dict())
    if not report.sound:
        first = f"first: {report.failures[0]}" if report.failures else "nothing was examined"
        raise UnsoundModelError(f"{bundle} is unsound: {len(report.failures)} gates missed; {first}")

"""`glow-deploy compile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ..common.console import Output
from ..common.options import Force, Json, Quiet


def compile_(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle, or one exported ONNX file.")],
    flavor: Annotated[
        Literal["rtx", "tensorrt"],
        typer.Option(
            help="rtx: TensorRT for RTX, compiles without a GPU. tensorrt: on and for the GPU in this machine."
        ),
    ] = "rtx",
    min_batch: Annotated[int, typer.Option(metavar="N", min=1, help="Smallest batch of the plan.")] = 1,
    opt_batch: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Batch it is tuned for; without it 8, or the nearest in range."),
    ] = None,
    max_batch: Annotated[int, typer.Option(metavar="N", min=1, help="Largest batch; larger requests are split.")] = 32,
    gpu: Annotated[
        str | None,
        typer.Option(metavar="SM[,SM...]", help="rtx: targets such as sm86,sm89; without it, Ampere and newer."),
    ] = None,
    opt_level: Annotated[
        int | None, typer.Option(metavar="N", min=0, max=5, help="tensorrt: builder optimization level.")
    ] = None,
    timing_cache: Annotated[
        Path | None, typer.Option(metavar="FILE", help="tensorrt: kernel timings, read if there and written.")
    ] = None,
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="tensorrt: newer releases of the same major may run it.")
    ] = False,
    hardware_compatible: Annotated[
        bool, typer.Option("--hardware-compatible", help="tensorrt: every GPU from Ampere on may run it.")
    ] = False,
    tf32: Annotated[
        bool, typer.Option("--tf32/--no-tf32", help="Allow TF32; it costs a flow about three decimal digits.")
    ] = False,
    device: Annotated[str, typer.Option(metavar="cuda[:N]", help="tensorrt: the GPU to compile on and for.")] = "cuda",
    force: Force = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Compile a bundle's graphs into TensorRT plans, each with a sidecar that vouches for it.

    Precision is decided at export; a plan computes what its graph says.
    """
    from glow_deploy.compile import CompileSettings, compile_bundle
    from glow_deploy.signing import is_stale

    output = Output(quiet=quiet, json=json)
    settings = CompileSettings(
        flavor=flavor,
        min_batch=min_batch,
        opt_batch=opt_batch,
        max_batch=max_batch,
        gpus=() if gpu is None else tuple(part.strip().lower() for part in gpu.split(",")),
        tf32=tf32,
        opt_level=opt_level,
        timing_cache=timing_cache,
        version_compatible=version_compatible,
        hardware_compatible=hardware_compatible,
        device=device,
    )
    with output.progress() as bars:
        plans = compile_bundle(bundle, settings=settings, force=force, progress=bars.share)
    stale = is_stale(plans[0].path.parent)
    output.write_json({"plans": plans, "signature_stale": stale}, schema="compile")
    for plan in plans:
        side = plan.sidecar
        output.say(
            f"wrote {plan.path} ({plan.nbytes:,} bytes) in {plan.seconds:.1f} s: TensorRT {side.version} "
            f"for {', '.join(side.gpus)}, batch {side.profile[0]} to {side.profile[2]}, "
            f"TF32 {'ALLOWED' if side.tf32 else 'off'}"
        )
    if stale:
        output.say("the signature no longer covers the bundle: sign it again")

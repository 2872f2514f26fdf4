"""`glow-deploy export` and `glow-deploy compile`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from .console import Output
from .memory import keep_freed_memory
from .openmp import wait_briefly
from .options import (
    Data,
    Force,
    ImageSize,
    InputRange,
    Json,
    NBits,
    Quiet,
    Resize,
    ScaleMap,
    import_options,
)


def export(
    ckpt: Annotated[
        Path, typer.Argument(metavar="CKPT", help="ckpt.pt, model.safetensors, or another project's checkpoint.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", metavar="BUNDLE", help="The folder to write; by default <stem>-bundle.")
    ] = None,
    precision: Annotated[
        Literal["fp32", "mixed", "bf16-mixed", "auto", "fp16"],
        typer.Option(
            help="fp32: float32 throughout. mixed, bf16-mixed: conditioner convolutions in 16 bit. auto: as many of "
            "them in float16 as --tolerance allows. fp16: all, for decoding only."
        ),
    ] = "fp32",
    tolerance: Annotated[
        float | None,
        typer.Option(metavar="STEPS", help="auto: largest error of x -> z -> x in pixel steps; 0.5 keeps every pixel."),
    ] = None,
    data: Data = None,
    golden: Annotated[
        str, typer.Option(metavar="N|none", help="Golden images kept with their float64 results.")
    ] = "64",
    resize: Resize = False,
    weights: Annotated[
        Literal["ema", "raw"], typer.Option(help="Averaged weights where there are any, or those trained.")
    ] = "ema",
    image_size: ImageSize = None,
    n_bits: NBits = None,
    input_range: InputRange = None,
    scale_map: ScaleMap = None,
    force: Force = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Turn a checkpoint into a bundle: encoder.onnx, decoder.onnx, golden vectors and a manifest.

    The graphs are run and compared with the float64 model before anything is written; a model that does not round-trip
    is refused (exit 1) unless forced. Golden images come from --data, else from those the checkpoint carries, else
    from the model's own samples.

    Takes checkpoints of rosinality/glow-pytorch, chaiyujin/glow-pytorch, y0ast/Glow-PyTorch, normflows and openai/glow
    too, told apart by their content; what such a file does not say is asked for by name.
    """
    wait_briefly()
    keep_freed_memory()
    from glow_deploy.export import ExportSettings
    from glow_deploy.export import export as write

    output = Output(quiet=quiet, json=json)
    settings = ExportSettings(
        precision=precision,
        tolerance=tolerance,
        data=data,
        golden=parse_golden(golden),
        resize=resize,
        weights=weights,
        options=import_options(image_size=image_size, n_bits=n_bits, input_range=input_range, scale_map=scale_map),
        force=force,
    )
    with output.progress() as bars:
        bundle = write(ckpt, out=out, settings=settings, progress=bars.stage)
    manifest = bundle.manifest
    output.write_json(
        {
            "bundle": bundle.path,
            "model_id": manifest.model_id,
            "precision": manifest.precision,
            "weights": manifest.weights,
            "golden_source": manifest.golden_source,
            "numerics": manifest.numerics,
            "files": manifest.files,
        }
    )
    output.say(f"wrote {bundle.path}/")
    for name in (*manifest.files, "manifest.json"):
        output.say(f"  {name:<14} {(bundle.path / name).stat().st_size:>13,} bytes")
    yardstick = manifest.numerics.get("yardstick")
    if yardstick:
        words = {"data": data, "checkpoint": "the checkpoint's validation set", "samples": "the model's own samples"}
        source = words.get(str(manifest.golden_source), "not kept")
        step = 2**manifest.n_bits
        output.say(
            f"yardstick: in float32 PyTorch the model reconstructs {yardstick['n']} images ({source}) to "
            f"{yardstick['x_hat']['rms'] * step:.1e} pixel steps rms, {yardstick['x_hat']['max'] * step:.1e} at most"
        )
    for note in manifest.numerics["notes"]:
        output.say(f"note: {note}")
    for problem in manifest.numerics["problems"]:
        output.say(f"FORCED although: {problem}")
    narrow = manifest.numerics["precision"]
    if narrow is not None:
        step, n = 2**manifest.n_bits, narrow["figures"]["n"]
        output.say(
            f"{manifest.precision}: {narrow['share_16_bit']:.1%} of the multiply-adds in 16 bit; simulated, "
            f"{narrow['exact_images']} of {n} golden images come back exactly, "
            f"largest error {_steps(narrow['figures']['x_hat']['max'], step)}"
        )
        for line in _choice(narrow["choice"]):
            output.say(line)
    elif not manifest.numerics["problems"]:
        batches = ", ".join(map(str, manifest.numerics["self_check"]["batches"]))
        output.say(f"self-check: both graphs agree with the float64 model in ONNX Runtime at batch {batches}")


def _steps(value: float | None, step: int) -> str:
    return "not finite" if value is None else f"{value * step:.2g} pixel steps"


def _choice(choice: dict[str, Any] | None) -> Iterator[str]:
    """What `auto` chose, and why each step kept in float32 was."""
    if choice is None:
        return
    kept = [step for step in choice["steps"] if step["number"] == "fp32"]
    tail, worst = ("not finite" if choice[name] is None else f"{choice[name]:.2g}" for name in ("tail", "worst"))
    yield (
        f"auto: {len(choice['steps']) - len(kept)} of {len(choice['steps'])} conditioners in float16; of {choice['n']} "
        f"calibration images 99 % come back within {tail} pixel steps, the worst within {worst}, "
        f"so that {choice['tolerance']:g} holds for more of them (95 % sure: fewer than {choice['bound']:.1%} beyond)"
    )
    for step in kept:
        yield f"  {step['step']} stays in float32: {step['reason']}"


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
    output.write_json({"plans": plans})
    for plan in plans:
        side = plan.sidecar
        output.say(
            f"wrote {plan.path} ({plan.nbytes:,} bytes) in {plan.seconds:.1f} s: TensorRT {side.version} "
            f"for {', '.join(side.gpus)}, batch {side.profile[0]} to {side.profile[2]}, "
            f"TF32 {'ALLOWED' if side.tf32 else 'off'}"
        )


def parse_golden(text: str) -> int | None:
    """Parse `--golden`.

    Raises:
        UsageError: neither a whole number nor `none`.
    """
    from glow_deploy.errors import UsageError

    if text.strip().lower() == "none":
        return None
    # Nine digits are more than enough, and far longer ones Python itself refuses.
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise UsageError(f"--golden is {text[:32]!r}; give a positive number or none")
    return int(text)

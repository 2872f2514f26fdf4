"""`glow-deploy export`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from glow_core.config import Weights

from ..common.console import Output
from ..common.memory import keep_freed_memory
from ..common.openmp import wait_briefly
from ..common.options import (
    Data,
    Force,
    ImageSize,
    InputRange,
    Json,
    NBits,
    Quiet,
    Resize,
    ScaleMap,
    SkipUnreadable,
    import_options,
)
from ..common.reading import Depth, FloatRange, Layout, reading_of

if TYPE_CHECKING:
    from glow_deploy.artifact.exact_figures import ExactFigures
    from glow_deploy.artifact.sixteen_bit import ChoiceFigures


def export(
    ckpt: Annotated[
        Path, typer.Argument(metavar="CKPT", help="ckpt.pt, model.safetensors, or another project's checkpoint.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="BUNDLE", help="The folder to write; by default <stem>-bundle."),
    ] = None,
    precision: Annotated[
        Literal["fp32", "mixed", "bf16-mixed", "auto", "fp16", "exact"],
        typer.Option(
            help="fp32: float32 throughout. mixed, bf16-mixed: conditioner convolutions in 16 bit. auto: as many of "
            "them in float16 as --tolerance allows. fp16: all, for decoding only. exact: integers, the same bits on "
            "every backend, for additive models."
        ),
    ] = "fp32",
    tolerance: Annotated[
        float | None,
        typer.Option(metavar="STEPS", help="auto: largest error of a calibration image's x -> z -> x, in pixel steps."),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="auto: calibrate on N images, 256 or more; more of them promise more."),
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(metavar="P", help="auto: how sure the bound on images beyond the tolerance is; 0.95 by default."),
    ] = None,
    io: Annotated[
        Literal["float32", "uint8", "uint8-nhwc", "uint8-int32", "uint8-nhwc-int32"],
        typer.Option(
            help="uint8, uint8-nhwc: also write graphs that take and give 8-bit pictures, NCHW or NHWC. -int32: with "
            "latents as int32, for exact."
        ),
    ] = "float32",
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Operator set of the graphs, 13 to 20, for runtimes that know no newer."),
    ] = None,
    ir_version: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Version of the ONNX files, 7 to 10; by default that of --opset's time."),
    ] = None,
    bits: Annotated[
        str | None,
        typer.Option(
            metavar="N|auto",
            help="exact: bits of the conditioners, 4 to 11, 8 by default. auto: the fewest that --band allows.",
        ),
    ] = None,
    band: Annotated[
        float | None,
        typer.Option(metavar="X", help="exact with --bits auto: what bits/dim may grow by; 0.005 by default."),
    ] = None,
    native: Annotated[
        Literal["bf16", "bf16-carried", "fp16", "fp16-carried"] | None,
        typer.Option(
            help="exact: hidden convolutions in bfloat16 or float16, for OpenVINO on CPUs that have it; or the same "
            "integers carried in float32, for all others."
        ),
    ] = None,
    data: Data = None,
    golden: Annotated[
        str, typer.Option(metavar="N|none", help="Golden images kept with their float64 results.")
    ] = "64",
    resize: Resize = False,
    skip_unreadable: SkipUnreadable = False,
    layout: Layout = None,
    float_range: FloatRange = None,
    depth: Depth = None,
    weights: Annotated[Weights, typer.Option(help="Averaged weights where there are any, or those trained.")] = "ema",
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

    Takes checkpoints of rosinality/glow-pytorch, chaiyujin/glow-pytorch, corenel/pytorch-glow, y0ast/Glow-PyTorch,
    normflows and openai/glow too, told apart by their content; what such a file does not say is asked for by name.
    """
    wait_briefly()
    keep_freed_memory()
    from glow_deploy.export import ExportSettings
    from glow_deploy.export import export as write

    output = Output(quiet=quiet, json=json)
    settings = ExportSettings(
        precision=precision,
        tolerance=tolerance,
        images=images,
        confidence=confidence,
        io=io,
        opset=opset,
        ir_version=ir_version,
        bits=parse_bits(bits),
        band=band,
        native=native,
        data=data,
        golden=parse_golden(golden),
        resize=resize,
        skip_unreadable=skip_unreadable,
        reading=reading_of(layout=layout, float_range=float_range, depth=depth),
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
            "numerics": manifest.numerics.to_dict(),
            "files": manifest.files,
        },
        schema="export",
    )
    output.say(f"wrote {bundle.path}/")
    for name in (*manifest.files, "manifest.json"):
        output.say(f"  {name:<14} {(bundle.path / name).stat().st_size:>13,} bytes")
    found = manifest.numerics
    if found.yardstick is not None:
        words = {"data": data, "checkpoint": "the checkpoint's validation set", "samples": "the model's own samples"}
        source = words.get(str(manifest.golden_source), "not kept")
        step = 2**manifest.n_bits
        output.say(
            f"yardstick: in float32 PyTorch the model reconstructs {found.yardstick.n} images ({source}) to "
            f"{found.yardstick.x_hat.rms * step:.1e} pixel steps rms, {found.yardstick.x_hat.max * step:.1e} at most"
        )
    for note in found.notes:
        output.say(f"note: {note}")
    for problem in found.problems:
        output.say(f"FORCED although: {problem}")
    if found.exact is not None:
        for line in _exact(found.exact, automatic=settings.bits == "auto"):
            output.say(line)
    narrow = found.precision
    if narrow is not None:
        step = 2**manifest.n_bits
        output.say(
            f"{manifest.precision}: {narrow.share_16_bit:.1%} of the multiply-adds in 16 bit; simulated, "
            f"{narrow.exact_images} of {narrow.figures.n} golden images come back exactly, "
            f"largest error {_steps(narrow.figures.x_hat.max, step)}"
        )
        for line in _choice(narrow.choice):
            output.say(line)
    elif not found.problems and found.self_check is not None:
        batches = ", ".join(map(str, found.self_check.batches))
        if found.exact is not None:
            output.say(f"self-check: ONNX Runtime gives the integers of the reference, bit for bit, at batch {batches}")
            return
        output.say(f"self-check: both graphs agree with the float64 model in ONNX Runtime at batch {batches}")


def _steps(value: float, step: int) -> str:
    return f"{value * step:.2g} pixel steps" if math.isfinite(value) else "not finite"


def _choice(choice: ChoiceFigures | None) -> Iterator[str]:
    """What `auto` chose, and why each step kept in float32 was."""
    if choice is None:
        return
    tail, worst = (f"{value:.2g}" if math.isfinite(value) else "not finite" for value in (choice.tail, choice.worst))
    yield (
        f"auto: {len(choice.steps) - len(choice.kept)} of {len(choice.steps)} conditioners in float16; of {choice.n} "
        f"calibration images 99 % come back within {tail} pixel steps, the worst within {worst}, "
        f"so that {choice.tolerance:g} holds for more of them ({100 * choice.confidence:.4g} % sure: fewer "
        f"than {choice.bound:.2%} beyond; --images N promises more)"
    )
    for step in choice.kept:
        yield f"  {step.step} stays in float32: {step.reason}"


def _exact(found: ExactFigures, *, automatic: bool) -> Iterator[str]:
    """What was proven, and what it costs."""
    proof = found.proof
    chosen = "; the bits were chosen on them" if automatic else ""
    images = f"{found.change_images} images that it was not made from" if found.change_images else "the same images"
    yield (
        f"exact: {found.bits} bits, {found.fraction_bits} below a pixel step; bits/dim "
        f"{found.bits_per_dim_change:+.4f} on {images} (95 % within {found.change_band:.4f}{chosen})"
    )
    if found.outside:
        yield f"out of range: {found.outside} of them, whose latents are NaN; more calibration images widen the range"
    yield (
        f"proven: every sum of products stays {24 - math.log2(proof.largest_sum):.2f} bits below 2^24, every value "
        f"{24 - math.log2(proof.largest_value):.2f} bits; integers up to {proof.limit:,} are in range, "
        f"{found.images} images reach {found.largest:,}"
    )


def parse_bits(text: str | None) -> int | Literal["auto"] | None:
    """Parse `--bits`.

    Raises:
        UsageError: neither a whole number nor `auto`.
    """
    from glow_deploy.errors import UsageError

    if text is None:
        return None
    if text.strip().lower() == "auto":
        return "auto"
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise UsageError(f"--bits is {text[:32]!r}; give a number from 4 to 11 or auto")
    return int(text)


def parse_golden(text: str) -> int | None:
    """Parse `--golden`.

    Raises:
        UsageError: neither a whole number nor `none`.
    """
    from glow_deploy.errors import UsageError

    if text.strip().lower() == "none":
        return None
    # Nine digits are more than enough, and far longer ones Python itself refuses.
    if not (text.isascii() and text.isdecimal() and len(text) <= 9):
        raise UsageError(f"--golden is {text[:32]!r}; give a positive number or none")
    return int(text)

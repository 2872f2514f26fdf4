"""`glow-deploy demo`: the whole way on the embedded faces, through the same functions that the other commands call."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common.console import Output
from ..common.openmp import wait_briefly
from ..common.options import Force, Json, Quiet
from ..common.training import Reporter, SampleGrids

if TYPE_CHECKING:
    import numpy as np

    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.verify import VerifyReport

_DATA = "faces"
_SHOWN = 12  # faces in the picture of reconstructions


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Where everything goes.")] = Path("glow-demo"),
    quick: Annotated[
        bool, typer.Option("--quick", help="A toy run of seconds: the same steps, faces nobody would recognise.")
    ] = False,
    force: Force = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Go the whole way in minutes on a CPU: train on embedded faces, export, compile, verify, sample.

    Ends with reconstructions of faces the model has not seen. Leaves DIR/ckpt.pt, DIR/bundle/, DIR/faces/ and
    pictures, and prints the command that does each step alone.
    """
    from glow_deploy.errors import UnsoundModelError

    output = Output(quiet=quiet, json=json)
    found = run_demo(out, quick=quick, force=force, output=output)
    output.write_json(found, schema="demo")
    if not found["sound"]:
        raise UnsoundModelError(f"{out / 'bundle'} is unsound; glow-deploy verify {out / 'bundle'} shows more")


@dataclass(frozen=True, kw_only=True)
class _Size:
    """How much the demo does."""

    verify_images: int
    samples: int


def run_demo(out: Path, *, quick: bool, force: bool, output: Output) -> dict[str, Any]:
    """Run every step and return what each one showed.

    Raises:
        UsageError: `out` holds an earlier demo and `force` is off.
        GlowDeployError, GlowCoreError: a step failed.
    """
    from glow_deploy.artifact.files import refuse_overwrite

    wait_briefly()
    for path in (out / "ckpt.pt", out / "bundle"):
        refuse_overwrite(path, force=force, elsewhere="out=")
    started = time.monotonic()
    size = _Size(verify_images=64, samples=16) if quick else _Size(verify_images=300, samples=64)
    found: dict[str, Any] = {"out": out}
    found |= _train(out, quick=quick, output=output)
    bundle, shown = _export(out, output=output)
    found |= shown
    found["plans"] = _compile(bundle, output=output)
    report = _verify(bundle, size, output=output)
    found |= {"sound": report.sound, "failures": [str(failure) for failure in report.failures]}
    found |= _sample(out, bundle, size, output=output)
    found |= _reconstruct(out, bundle, output=output)
    found["seconds"] = round(time.monotonic() - started, 1)
    output.say(f"\nDone in {found['seconds']:.0f} s. Look at:")
    for name in ("samples.png", "reconstructions.png", "verify.json"):
        output.say(f"  {out / name}")
    return found


def _train(out: Path, *, quick: bool, output: Output) -> dict[str, Any]:
    from glow_core.training import demo_config, demo_settings, train
    from glow_deploy.data import load_images

    config, settings = demo_config(quick=quick), demo_settings(quick=quick)
    images = load_images(_DATA, split="train")
    validation = load_images(_DATA, split="validation")
    _heading(output, 1, "Train", f"a Glow on {len(images):,} drawn faces of 16x16 pixels, {config.n_bits} bits")
    with output.progress() as bars:
        result = train(
            config,
            train_images=images,
            validation_images=validation,
            out=out,
            settings=settings,
            overwrite=True,
            notes={"data": _DATA},
            progress=Reporter(bars, output),
            sample_writer=SampleGrids(out, config.n_bits),
        )
    output.say(
        f"{result.step:,} steps in {result.seconds:.0f} s; faces it has not seen cost "
        f"{result.validation_bits_per_dim:.3f} bits/dim (a uniform guess costs {config.n_bits})"
    )
    return {"steps": result.step, "validation_bits_per_dim": result.validation_bits_per_dim}


def _export(out: Path, *, output: Output) -> tuple[Bundle, dict[str, Any]]:
    from glow_deploy.export import ExportSettings, export

    _heading(output, 2, "Export", f"glow-deploy export {out / 'ckpt.pt'} --out {out / 'bundle'}", command=True)
    with output.progress() as bars:
        bundle = export(out / "ckpt.pt", out=out / "bundle", settings=ExportSettings(force=True), progress=bars.stage)
    sizes = {name: (bundle.path / name).stat().st_size for name in ("encoder.onnx", "decoder.onnx")}
    output.say(f"encoder.onnx ({sizes['encoder.onnx']:,} bytes), decoder.onnx ({sizes['decoder.onnx']:,} bytes)")
    problems = bundle.manifest.numerics.problems
    for problem in problems:
        output.say(f"FORCED although: {problem}")
    if not problems:
        output.say("both agree with the float64 model")
    return bundle, {"bundle": bundle.path, "model_id": bundle.manifest.model_id}


def _compile(bundle: Bundle, *, output: Output) -> list[Path]:
    from glow_deploy.compile import compile_bundle
    from glow_deploy.errors import MissingDependencyError

    _heading(output, 3, "Compile", f"glow-deploy compile {bundle.path} --flavor rtx", command=True)
    try:
        with output.progress() as bars:
            plans = compile_bundle(bundle.path, force=True, progress=bars.share)
    except MissingDependencyError as error:
        output.say(f"left out: {error}")
        return []
    for plan in plans:
        output.say(f"{plan.path.name} ({plan.nbytes:,} bytes, {plan.seconds:.1f} s) for {', '.join(plan.sidecar.gpus)}")
    output.say("built here without a GPU; running them takes one")
    return [plan.path for plan in plans]


def _verify(bundle: Bundle, size: _Size, *, output: Output) -> VerifyReport:
    from glow_deploy.artifact.files import atomic_write
    from glow_deploy.verify import VerifySettings, verify

    ckpt = bundle.path.parent / "ckpt.pt"
    settings = VerifySettings(ckpt=ckpt, data=_DATA, limit=size.verify_images)
    _heading(output, 4, "Verify", settings.command(bundle.path), command=True)
    with output.progress() as bars:
        report = verify(bundle, settings=settings, progress=bars.stage)
    atomic_write(bundle.path.parent / "verify.json", report.to_json().encode())
    used = [backend.name for backend in report.backends if backend.used]
    output.say(f"encoded on A and decoded on B, for every pair of {', '.join(used)}:")
    for images in report.image_sets:
        cells = [cell for cell in report.cells if cell.images == images.name]
        fewest = min(cells, key=lambda cell: cell.exactness.images_exact).exactness
        worst = max(cell.x_error.max for cell in cells) * 2**report.n_bits
        output.say(
            f"  {images.n} {images.name} images: {fewest.images_exact} exact in the worst pair, largest error "
            f"{worst:.1e} pixel steps (95 % sure: fewer than {fewest.bound:.1%} of all such images are lost)"
        )
    for failure in report.failures:
        output.say(f"  FAIL {failure}")
    verdicts = report.verdicts
    output.say(f"round trip: {verdicts.round_trip}; likelihood: {verdicts.likelihood}; all figures are in verify.json")
    return report


def _sample(out: Path, bundle: Bundle, size: _Size, *, output: Output) -> dict[str, Any]:
    from glow_deploy.engines.open import open_engine
    from glow_deploy.images import grid, write_png, x_to_values
    from glow_deploy.latents import SampleSettings, concatenate_samples, sample

    decoder_path, picture = bundle.path / "decoder.onnx", out / "samples.png"
    words = f"glow-deploy sample --engine {decoder_path} -n {size.samples} --out {picture}"
    _heading(output, 5, "Sample", words, command=True)
    with open_engine(decoder_path) as decoder:
        drawn = concatenate_samples(sample(decoder, count=size.samples, settings=SampleSettings(temperature=0.7)))
        write_png(picture, grid(x_to_values(drawn.x, decoder.n_bits)))
    output.say(f"{size.samples} new faces at temperature 0.7; draws that were not finite: {drawn.nonfinite}")
    return {"samples": picture, "nonfinite_draws": drawn.nonfinite}


def _reconstruct(out: Path, bundle: Bundle, *, output: Output) -> dict[str, Any]:
    import numpy as np

    from glow_deploy.data import load_images
    from glow_deploy.engines.open import open_engine
    from glow_deploy.images import grid, values_to_pixels, write_png, x_to_pixels
    from glow_deploy.latents import EncodeSettings, decode_latents, encode_images

    _heading(output, 6, "Reconstruct", "held-out faces through encoder.onnx and decoder.onnx")
    images = load_images(_DATA, split="test")
    values = images.batch(np.arange(min(_SHOWN, len(images))))
    with (
        open_engine(bundle.path / "encoder.onnx") as encoder,
        open_engine(bundle.path / "decoder.onnx") as decoder,
    ):
        n_bits = decoder.n_bits
        latents = encode_images(encoder, values, settings=EncodeSettings())
        pixels = values_to_pixels(values, n_bits)
        back = x_to_pixels(decode_latents(decoder, latents.z).x, n_bits)
    exact = int(np.all(pixels == back, axis=(1, 2, 3)).sum())
    write_png(out / "reconstructions.png", grid(_rows(pixels, back, n_bits), columns=len(pixels)))
    assert latents.bits_per_dim is not None
    bits = float(latents.bits_per_dim.mean())
    output.say(f"{exact} of {len(pixels)} faces come back exactly, pixel for pixel; {bits:.3f} bits/dim")
    faces = out / "faces"
    faces.mkdir(exist_ok=True)
    for number, face in enumerate(values):
        write_png(faces / f"face-{number:02d}.png", face)
    output.say(f"faces/: the {len(values)} originals one by one, for `encode`, `edit` and the rest")
    output.say("reconstructions.png: originals above, reconstructions below them, differences (none is black) last")
    return {
        "reconstructions": out / "reconstructions.png",
        "exact": exact,
        "reconstructed": len(pixels),
        "bits_per_dim": bits,
    }


def _rows(pixels: np.ndarray, back: np.ndarray, n_bits: int) -> np.ndarray:
    """Originals, reconstructions and their absolute difference in n_bits-deep pixels, as 8-bit pictures."""
    import numpy as np

    from glow_deploy.images import pixels_to_values

    difference = np.abs(pixels.astype(np.int16) - back.astype(np.int16)).astype(np.uint8)
    return pixels_to_values(np.concatenate([pixels, back, difference]), n_bits)


def _heading(output: Output, number: int, title: str, words: str, *, command: bool = False) -> None:
    output.say(f"\n{number}/6 {title}: {'$ ' if command else ''}{words}")

"""`glow-deploy inpaint`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..common.console import Output
from ..common.engines import Flavor
from ..common.inverse import (
    BundleOption,
    Ckpt,
    Over,
    PriorWeight,
    Steps,
    Truth,
    Weights,
    check_picture,
    cost,
    deployed_bits_per_dim,
    need_torch,
    one_class,
)
from ..common.memory import keep_freed_memory
from ..common.openmp import wait_briefly
from ..common.options import (
    Device,
    ImageSize,
    InputRange,
    Json,
    NBits,
    Quiet,
    Resize,
    ScaleMap,
    Seed,
    Threads,
    TrustEngine,
    import_options,
)
from ..common.targets import is_folder, open_folder

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from glow_deploy.inverse import Filling

_MOST_COLUMNS = 8
_HOLE = 128  # grey level that stands for what is missing
_MOST_SAMPLES = 1024
_SEAM = 0.05  # of the range from black to white: a difference that the eye sees at the edge of a fill


def inpaint(
    ckpt: Ckpt,
    image: Annotated[Path, typer.Argument(metavar="IMAGE", help="The picture with something missing.")],
    mask: Annotated[
        Path | None,
        typer.Option(metavar="MASK.png", help="White or transparent is missing, black is known; as large as IMAGE."),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TOP,LEFT,HEIGHT,WIDTH",
            help="A box that is missing, in pixels of IMAGE as the file has it. Repeatable.",
        ),
    ] = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.png|DIR",
            help="FILE.png: the hole, the fills and the truth side by side. A folder (there already, or no suffix): "
            "one picture a fill, as large as the image.",
        ),
    ] = Path("filled.png"),
    samples: Annotated[
        int, typer.Option("--samples", "-n", metavar="N", min=1, max=_MOST_SAMPLES, help="Fills, each from a draw.")
    ] = 3,
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            "-t",
            metavar="X",
            min=0.0,
            max=100.0,
            help="Of the draw that a fill stays close to; 0: the likeliest fill alone.",
        ),
    ] = 0.7,
    over: Over = "latents",
    prior_weight: PriorWeight = 1.0,
    steps: Steps = 200,
    truth: Truth = None,
    bundle: BundleOption = None,
    flavor: Flavor = "onnx",
    classes: Annotated[
        str | None, typer.Option("--class", metavar="Y", help="For class-conditional models: the picture's class.")
    ] = None,
    resize: Resize = False,
    seed: Seed = 0,
    batch: Annotated[int, typer.Option("--batch", metavar="N", min=1, help="Fills worked on at once.")] = 16,
    device: Device = "auto",
    weights: Weights = "ema",
    image_size: ImageSize = None,
    n_bits: NBits = None,
    input_range: InputRange = None,
    scale_map: ScaleMap = None,
    threads: Threads = None,
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Fill in missing pixels of a picture, so that the model finds the whole likely.

    Needs torch, for the model's gradient. The known pixels are written as they are in IMAGE; how far the model's own
    decode was from them is said. With --box, IMAGE itself is taken for the truth, unless --truth names another.
    """
    wait_briefly()
    keep_freed_memory()
    need_torch()
    import numpy as np

    from glow_deploy.engines.pytorch_gradient import open_model_gradient
    from glow_deploy.errors import UsageError
    from glow_deploy.images import caption_columns, grid, read_picture, write_png
    from glow_deploy.inverse import InpaintSettings, psnr
    from glow_deploy.inverse import inpaint as fill

    output = Output(quiet=quiet, json=json)
    if (mask is None) == (not box):
        raise UsageError("say what is missing, either by --mask FILE or by --box top,left,height,width")
    folder = is_folder(out)
    if not folder:
        check_picture("--out", out)
    chosen = one_class(classes, 1)
    settings = InpaintSettings(
        samples=samples,
        temperature=temperature,
        prior=prior_weight,
        over=over,
        steps=steps,
        seed=seed,
        batch=batch,
    )
    model = open_model_gradient(
        ckpt,
        device=device,
        threads=threads,
        weights=weights,
        options=import_options(
            image_size=image_size, n_bits=n_bits, input_range=input_range, scale_map=scale_map
        ).to_dict(),
    )
    channels, height, width = next(spec.shape for spec in model.encoder.inputs if spec.name == "x")
    values = read_picture(image, size=(height, width), channels=channels, resize=resize)
    missing, moved = _missing(image, mask, box, size=(height, width), resize=resize)
    true = values if box else None
    if truth is not None:
        true = read_picture(truth, size=(height, width), channels=channels, resize=resize)
    with output.progress() as bars:
        found = fill(
            model, values[None], missing, settings=settings, labels=chosen, progress=bars.counter("optimising")
        )
        filled = found.values[0]
        deployed, engine = None, ""
        if bundle is not None:
            deployed, engine = deployed_bits_per_dim(
                bundle,
                model,
                filled,
                labels=None if chosen is None else chosen * samples,
                draws=settings.draws,
                seed=seed,
                flavor=flavor,
                device=device,
                threads=threads,
                trust_engine=trust_engine,
            )
    if folder:
        open_folder(out)
        for number, picture in enumerate(filled):
            write_png(out / f"fill-{number:04d}.png", picture)
    else:
        hole = np.where(missing, np.uint8(_HOLE), values)
        cells = [hole, *filled, *([] if true is None else [true])]
        words = ["hole", *(f"fill {number + 1}" for number in range(len(filled))), *([] if true is None else ["truth"])]
        if len(cells) <= _MOST_COLUMNS:
            write_png(out, caption_columns(grid(np.stack(cells), columns=len(cells)), words))
        else:
            write_png(out, grid(np.stack(cells)))
    against = None if true is None else psnr(filled, true, where=missing)
    details = model.encoder.details
    output.write_json(
        {
            "out": out,
            "image": image,
            "missing_pixels": int(missing.sum()),
            "over": over,
            "temperature": temperature,
            "seed": seed,
            "class": None if chosen is None else chosen[0],
            "backend": details.backend,
            "device": details.device,
            "known_kept": _kept(found, values),
            "known_error_steps": found.known_error[0],
            "bits_per_dim": found.bits_per_dim[0],
            "bits_per_dim_deployed": deployed,
            "psnr": against,
            "iterations": found.steps[0],
            "converged": found.converged[0],
            "evaluations": int(found.evaluations.sum()),
            "nonfinite": int(found.nonfinite.sum()),
            "seconds": found.seconds,
        },
        schema="inpaint",
    )
    what = f"temperature {temperature:g}, seed {seed}, " if over == "latents" else ""
    fills = "1 fill" if samples == 1 else f"{samples} fills"
    output.say(
        f"{fills} of {image} ({missing.sum()} of {missing.size} pixels missing), over {over}, {what}on "
        f"{details.backend} ({details.provider}, {details.device})"
    )
    if moved is not None:
        output.say(moved)
    for row in range(min(samples, 16)):
        shown = f"  fill {row}: {found.bits_per_dim[0, row]:.4f} bits/dim"
        shown += "" if deployed is None else f" ({deployed[row]:.4f} deployed)"
        shown += "" if against is None else f", {against[row]:.1f} dB in what was missing"
        output.say(
            f"{shown}, {found.steps[0, row]} iterations{'' if found.converged[0, row] else ', all it was given'}"
        )
    if samples > 16:
        output.say(f"  ... and {samples - 16} more")
    output.say(
        "known pixels: every one as given"
        + (f"; decoded to within {found.known_error.max():.2f} pixel steps of them" if over == "latents" else "")
    )
    if found.known_error.max() > _SEAM * 2**model.encoder.n_bits:
        output.say("  which may show as a seam: more --steps bring them together, or another --seed")
    if deployed is not None:
        output.say(f"deployed: measured on {engine}")
    output.say(cost(found.seconds, int(found.evaluations.sum()), int(found.nonfinite.sum())))
    output.say(f"wrote {out}{'/' if folder else ''}")


def _missing(
    image: Path, mask: Path | None, box: list[str] | None, *, size: tuple[int, int], resize: bool
) -> tuple[npt.NDArray[np.bool_], str | None]:
    """Which of the model's pixels are missing, and how boxes were fitted to them, in words."""
    from glow_deploy.images import read_header
    from glow_deploy.inverse import box_mask, read_mask
    from glow_deploy.inverse.masks import fitted_boxes, parse_box

    if mask is not None:
        return read_mask(mask, size=size, resize=resize), None
    boxes = [parse_box(text) for text in box or ()]
    held = read_header(image).size
    if held == size:
        return box_mask(boxes, size=size), None
    fitted = fitted_boxes(boxes, held=held, size=size)
    pairs = ", ".join(
        f"{','.join(map(str, given))} is {','.join(map(str, found))}"
        for given, found in zip(boxes, fitted, strict=True)
    )
    return box_mask(fitted, size=size), (
        f"boxes in pixels of the file, {held[0]}x{held[1]} (height x width), and of the model, {size[0]}x{size[1]}: "
        f"{pairs}"
    )


def _kept(found: Filling, values: npt.NDArray[np.uint8]) -> bool:
    """Whether every known pixel of what is written is that of the picture given."""
    known = ~found.missing[0]
    return bool((found.values[0][:, :, known] == values[:, known]).all())

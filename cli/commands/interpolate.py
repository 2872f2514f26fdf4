"""`glow-deploy interpolate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..common.classes import BEST, parse_classes
from ..common.clipping import clipped_line
from ..common.console import Output
from ..common.counting import counted
from ..common.engines import Decoder, Encoder, Flavor, both_engines, split_bundle
from ..common.options import Batch, Device, Json, Quiet, Resize, Threads, TrustEngine
from ..common.targets import MOST_CELLS, check_target

if TYPE_CHECKING:
    from glow_deploy.latents.interpolation import Interpolation

_STEPS, _GRID_STEPS, _ANIMATION_STEPS = 9, 5, 24


def interpolate(
    arguments: Annotated[
        list[Path],
        typer.Argument(
            metavar="BUNDLE A B [C D]",
            help="A bundle (or --encoder and --decoder instead), and two pictures, or four corners of a grid: top left "
            "and right, bottom left and right.",
        ),
    ],
    steps: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=2,
            max=1000,
            help=f"Pictures from end to end, both included; without it {_STEPS}, in a grid {_GRID_STEPS}, in an "
            f"animation {_ANIMATION_STEPS}.",
        ),
    ] = None,
    mode: Annotated[
        Literal["linear", "spherical"],
        typer.Option(
            help="linear: straight, smoother half way. spherical: on an arc in each level, as sharp as the ends."
        ),
    ] = "linear",
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", metavar="FILE.png|.gif|.apng", help="A strip or a grid; .gif and .apng are animations."
        ),
    ] = Path("interpolation.png"),
    animate: Annotated[
        bool, typer.Option("--animate", help="Also make a .png an animation, there and back; it keeps every colour.")
    ] = False,
    fps: Annotated[float, typer.Option(metavar="X", min=0.1, max=50.0, help="Pictures a second of an animation.")] = 12,
    classes: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="Y[,Y...]|best",
            help="For class-conditional models: one for all, one an end, or whichever makes each end likeliest.",
        ),
    ] = None,
    resize: Resize = False,
    encoder: Encoder = None,
    decoder: Decoder = None,
    flavor: Flavor = "onnx",
    batch: Batch = 64,
    device: Device = "auto",
    threads: Threads = None,
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Show what lies between two pictures, or four, in a model's latents.

    The first and the last picture are decoded from the very latents of A and B. With a class for each end, what lies
    between is decoded as the class of the nearer one and changes in the middle; one class for all gives no such step.
    """
    import numpy as np

    from glow_deploy.errors import UsageError
    from glow_deploy.images import caption_columns, grid, read_picture, write_png
    from glow_deploy.images.animation import there_and_back, write_animation
    from glow_deploy.latents.interpolation import InterpolationSettings, interpolate_images

    output = Output(quiet=quiet, json=json)
    bundle, pictures = split_bundle(arguments, encoder=encoder, decoder=decoder)
    if len(pictures) not in (2, 4):
        raise UsageError(
            f"after the engines came {counted(len(pictures), 'picture')}; give two, or the four corners of a grid"
        )
    animated = _animated(out, animate=animate)
    if animated and len(pictures) == 4:
        raise UsageError("an animation goes between two pictures; name a .png without --animate for a grid of four")
    steps = steps or (_ANIMATION_STEPS if animated else _STEPS if len(pictures) == 2 else _GRID_STEPS)
    cells = steps if len(pictures) == 2 else steps**2
    if cells > MOST_CELLS:
        raise UsageError(f"{cells} pictures do not fit one file; at most {MOST_CELLS}: lower --steps")
    best = classes == BEST
    labels = None if best else parse_classes(classes, words=(BEST,))
    if labels is not None and len(labels) not in (1, len(pictures)):
        raise UsageError(f"--class names {len(labels)} classes for {len(pictures)} pictures; give one, or one for each")
    settings = InterpolationSettings(steps=steps, mode=mode, batch=batch, best_class=best)
    with (
        output.progress() as bars,
        both_engines(
            bundle,
            encoder=encoder,
            decoder=decoder,
            flavor=flavor,
            device=device,
            threads=threads,
            trust_engine=trust_engine,
        ) as (opened_encoder, opened_decoder),
    ):
        channels, height, width = next(spec.shape for spec in opened_encoder.inputs if spec.name == "x")
        values = [read_picture(path, size=(height, width), channels=channels, resize=resize) for path in pictures]
        found = interpolate_images(
            opened_encoder,
            opened_decoder,
            np.stack(values),
            settings=settings,
            labels=labels * len(pictures) if labels is not None and len(labels) == 1 else labels,
            progress=bars.counter("decoding"),
        )
        details = opened_decoder.details
    shown = found.pictures()
    if animated:
        write_animation(out, shown[found.finite][there_and_back(int(found.finite.sum()))], fps=fps, hold=0.5)
    else:
        picture = grid(shown, columns=found.columns)
        if found.columns == len(shown):  # a strip: how much of the way
            picture = caption_columns(picture, [f"{step / (len(shown) - 1):.0%}" for step in range(len(shown))])
        write_png(out, picture)
    output.write_json(
        {
            "out": out,
            "pictures": pictures,
            "mode": mode,
            "steps": steps,
            "backend": details.backend,
            "device": details.device,
            "nonfinite": int((~found.finite).sum()),
            "ends_exact": found.ends_exact,
            "clipped_share": found.clipped,
            "excess_steps": found.excess,
            "classes": found.labels,
        },
        schema="interpolate",
    )
    ends = f"from {pictures[0]} to {pictures[1]}" if len(pictures) == 2 else f"between {len(pictures)} corners"
    output.say(f"{cells} pictures {ends}, {mode}, on {details.backend} ({details.provider}, {details.device})")
    for line in _remarks(found, pictures, animated=animated):
        output.say(line)
    output.say(f"wrote {out}")


def _animated(out: Path, *, animate: bool) -> bool:
    """Tell from the name whether an animation is wanted.

    Raises:
        UsageError: a suffix that is neither a picture nor an animation, or a place that cannot be written.
    """
    from glow_deploy.errors import UsageError

    suffix = out.suffix.lower()
    if suffix not in (".png", ".gif", ".apng"):
        raise UsageError(f"--out {out}: name a .png for a strip or a grid, a .gif or .apng for an animation")
    check_target(out)
    return animate or suffix != ".png"


def _remarks(found: Interpolation, pictures: list[Path], *, animated: bool) -> list[str]:
    lost = len(found) - int(found.finite.sum())
    what = "left out" if animated else "drawn as a cross"
    lines = [f"not finite: {lost}" + (f" of {len(found)} pictures, {what}" if lost else "")]
    changed = [str(path) for path, exact in zip(pictures, found.ends_exact, strict=True) if not exact]
    lines.append(
        f"ends: {', '.join(changed)} did not come back to the pixel; `glow-deploy verify` measures why"
        if changed
        else "ends: every pixel as in the files"
    )
    clipped = clipped_line(found.clipped[found.finite], found.excess[found.finite])
    lines += [] if clipped is None else [clipped]
    if found.labels is not None and len(set(found.labels.tolist())) > 1:
        lines.append("classes: each picture is decoded as the class of its nearest end, so there is a step half way")
    return lines

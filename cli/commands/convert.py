"""`glow-deploy convert`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..common.console import Output
from ..common.options import Force, ImageSize, InputRange, Json, NBits, Quiet, ScaleMap, import_options


def convert(
    ckpt: Annotated[Path, typer.Argument(metavar="CKPT", help="Another project's checkpoint, or one of this tool's.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The file to write, by default <stem>-glow.pt; *.safetensors holds the weights alone.",
        ),
    ] = None,
    image_size: ImageSize = None,
    n_bits: NBits = None,
    input_range: InputRange = None,
    scale_map: ScaleMap = None,
    force: Force = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Write another project's checkpoint as one of this tool's own, to train on or to keep.

    Recognised by content: rosinality/glow-pytorch, chaiyujin/glow-pytorch, corenel/pytorch-glow, y0ast/Glow-PyTorch,
    normflows and openai/glow (its variables as an .npz). The new file gives the same latents and likelihoods, and says
    all that the old one left out. Go on with `train --init` or `export`.
    """
    from glow_core import read_checkpoint
    from glow_core.convert import convert_checkpoint, default_path

    output = Output(quiet=quiet, json=json)
    options = import_options(image_size=image_size, n_bits=n_bits, input_range=input_range, scale_map=scale_map)
    target = default_path(ckpt) if out is None else out
    with output.progress() as bars:
        bars.stage("reading the checkpoint", 0, None)
        checkpoint = read_checkpoint(ckpt, options=options)
        bars.stage("writing the checkpoint", 0, None)
        convert_checkpoint(checkpoint, target, force=force)
    config, origin = checkpoint.config, checkpoint.origin
    output.write_json(
        {
            "checkpoint": target,
            "project": None if origin is None else origin.project,
            "notes": [] if origin is None else list(origin.notes),
            "config": config.to_dict(),
        },
        schema="convert",
    )
    if origin is None:
        output.say(f"{ckpt}: a checkpoint of this tool")
    elif origin.converted:
        output.say(f"{ckpt}: a checkpoint of this tool, converted from one of {origin.project}")
    else:
        output.say(f"{ckpt}: read as {origin.project}")
    classes = "" if config.num_classes is None else f", {config.num_classes} classes"
    output.say(
        f"  {config.image_size[0]}x{config.image_size[1]}, {config.channels} channels, {config.n_bits} bits{classes}; "
        f"L={config.levels}, K={config.steps}, width {config.width}, {config.coupling}, {config.permutation}"
    )
    for note in () if origin is None else origin.notes:
        output.say(f"note: {note}")
    output.say(f"wrote {target} ({target.stat().st_size:,} bytes); next: glow-deploy export {target}")

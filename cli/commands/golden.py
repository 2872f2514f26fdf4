"""`glow-deploy golden`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..common.console import Output
from ..common.options import Force, Json, Quiet


def golden(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="The folder that `export` wrote.")],
    inputs: Annotated[
        Path,
        typer.Option("--inputs", "-o", metavar="DIR|FILE.npz", help="Where to write what to feed."),
    ],
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the first N golden images. Without it, all.")
    ] = None,
    batch: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Images at once in the files for Polygraphy. Without it, all."),
    ] = None,
    force: Force = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Write what to feed to a program elsewhere, so that `verify --outputs` can judge what it made of it.

    That is the golden images for the encoder, the trained model's latents of them for the decoder, and a canary: a
    graph of two convolutions, whose result tells what number format the program computes in.

    A folder holds each tensor as bare values (for trtexec --loadInputs and programs of your own) and as JSON (for
    Polygraphy --load-inputs), and an index.json that says what to save and in which shapes.
    """
    from glow_deploy.offline import golden_inputs, write_inputs

    output = Output(quiet=quiet, json=json)
    found = golden_inputs(bundle, limit=limit)
    files = write_inputs(found, inputs, batch=batch, force=force)
    document = {
        "inputs": str(inputs),
        "files": [str(file) for file in files],
        "images": found.images,
        "model_id": found.model_id,
        "inputs_sha256": found.digest,
        "outputs": {name: list(shape) for name, shape in found.outputs.items()},
    }
    output.write_json(document, schema="golden")
    output.say(f"wrote {inputs}: {found.images} golden images, their latents and the canary")
    output.say(
        f"save what your program makes of them, then: glow-deploy verify {bundle} --outputs FILE.npz or a folder"
    )

"""`glow-deploy decode`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..common.classes import labels_for, parse_classes
from ..common.console import Output
from ..common.options import Batch, Device, Engine, Json, Quiet, TrustEngine
from ..common.pictures import file_names
from ..common.targets import write_whole


def decode(
    latents: Annotated[Path, typer.Argument(metavar="LATENTS.npz", help="As `encode` writes them.")],
    engine: Engine,
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the pictures.")] = Path("decoded"),
    classes: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="Y[,Y...]",
            help="Instead of the classes they were encoded with: one for all, or one a row.",
        ),
    ] = None,
    batch: Batch = 64,
    device: Device = "auto",
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Turn latents back into pictures, one PNG each.

    Rows that do not decode to finite values are counted and named, and no picture is written for them. Latents of a
    class-conditional model are decoded as the classes they were encoded with; --class turns them into others.
    """
    from glow_deploy.artifact.files import sync_folder
    from glow_deploy.engines.open import open_engine
    from glow_deploy.errors import UsageError
    from glow_deploy.images import png_bytes, x_to_values
    from glow_deploy.latents import decode_latents, load_latents, need_role

    output = Output(quiet=quiet, json=json)
    chosen = parse_classes(classes)
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; name a folder")
    with output.progress() as bars, open_engine(engine, device=device, trust_engine=trust_engine) as decoder:
        need_role(decoder, "decoder", "decoding")
        found = load_latents(latents, decoder.inputs, num_classes=decoder.num_classes, need_y=chosen is None)
        labels = found.labels if chosen is None else labels_for(decoder, chosen, len(found), what="rows")
        decoded = decode_latents(decoder, found.z, labels=labels, batch=batch, progress=bars.counter("decoding"))
        provider = f"{decoder.details.backend} ({decoder.details.provider}, {decoder.details.device})"
    out.mkdir(parents=True, exist_ok=True)
    names = file_names(found.names)
    written, lost = [], []
    for row, name in enumerate(names):
        if not decoded.finite[row]:
            lost.append(found.names[row])
            continue
        write_whole(out / name, png_bytes(x_to_values(decoded.x[row : row + 1], decoder.n_bits)[0]))
        written.append(name)
    sync_folder(out)
    output.write_json(
        {
            "out": out,
            "backend": decoder.details.backend,
            "written": written,
            "nonfinite": lost,
            "classes": None if labels is None else [int(label) for label in labels],
        }
    )
    output.say(f"{len(names)} latents decoded on {provider}; not finite: {len(lost)}")
    for name in lost[:16]:
        output.say(f"  not written: {name}")
    output.say(f"wrote {len(written)} pictures to {out}/")

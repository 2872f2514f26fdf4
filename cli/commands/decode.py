"""`glow-deploy decode`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..common.classes import labels_for, parse_classes
from ..common.console import Output
from ..common.counting import counted
from ..common.engines import Flavor, OneEngine, one_engine, split_engine
from ..common.options import Batch, Device, Json, Quiet, Threads, TrustEngine
from ..common.pictures import file_names
from ..common.targets import MOST_CELLS, check_target, is_folder, open_folder, write_whole

if TYPE_CHECKING:
    from glow_deploy.latents import Decoded


def decode(
    arguments: Annotated[
        list[Path],
        typer.Argument(
            metavar="[BUNDLE] LATENTS.npz",
            help="A bundle, unless --engine names a file; then latents as `encode` writes them.",
        ),
    ],
    engine: OneEngine = None,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.png|DIR",
            help="FILE.png: one picture, a grid if there are several. A folder (there already, or no suffix): a "
            "picture each.",
        ),
    ] = Path("decoded"),
    classes: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="Y[,Y...]",
            help="Instead of the classes they were encoded with: one for all, or one a row.",
        ),
    ] = None,
    flavor: Flavor = "onnx",
    batch: Batch = 64,
    device: Device = "auto",
    threads: Threads = None,
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Turn latents back into pictures.

    Rows that do not decode to finite values are counted and named, and no picture is written for them. Latents of a
    class-conditional model are decoded as the classes they were encoded with; --class turns them into others.
    """
    from glow_deploy.artifact.flavors import graph_backend
    from glow_deploy.engines.open import open_engine
    from glow_deploy.errors import UsageError
    from glow_deploy.latents import decode_latents, load_latents, need_role
    from glow_deploy.printable import shown

    output = Output(quiet=quiet, json=json)
    bundle, rest = split_engine(arguments, engine=engine)
    path = one_engine(bundle, engine, role="decoder", flavor=flavor)
    if len(rest) != 1:
        raise UsageError(f"name one file of latents after the BUNDLE or --engine, not {len(rest)}")
    chosen = parse_classes(classes)
    folder = is_folder(out)
    if folder and out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; name a folder, or a .png file")
    if not folder:
        check_target(out)
    with (
        output.progress() as bars,
        open_engine(
            path, backend=graph_backend(flavor), device=device, threads=threads, trust_engine=trust_engine
        ) as decoder,
    ):
        need_role(decoder, "decoder", "decoding")
        found = load_latents(rest[0], decoder.inputs, num_classes=decoder.num_classes, need_y=chosen is None)
        if not folder and len(found) > MOST_CELLS:
            raise UsageError(f"{len(found)} pictures do not fit one; name a folder: --out {out.with_suffix('')}/")
        labels = found.labels if chosen is None else labels_for(decoder, chosen, len(found), what="rows")
        decoded = decode_latents(decoder, found.z, labels=labels, batch=batch, progress=bars.counter("decoding"))
        provider = f"{decoder.details.backend} ({decoder.details.provider}, {decoder.details.device})"
        n_bits = decoder.n_bits
    write = _write_each if folder else _write_one
    written = write(out, found.names, decoded, n_bits)
    lost = [name for name, finite in zip(found.names, decoded.finite, strict=True) if not finite]
    output.write_json(
        {
            "out": out,
            "backend": decoder.details.backend,
            "written": written,
            "nonfinite": lost,
            "classes": None if labels is None else [int(label) for label in labels],
        },
        schema="decode",
    )
    output.say(f"{counted(len(found), 'latent')} decoded on {provider}; not finite: {len(lost)}")
    for name in lost[:16]:
        output.say(f"  not written: {shown(name)}")
    output.say(f"wrote {counted(len(written), 'picture')} to {out}/" if folder else f"wrote {out}")


def _write_each(out: Path, names: tuple[str, ...], decoded: Decoded, n_bits: int) -> list[str]:
    """Write a PNG for each row that is finite, named after it; return the names."""
    from glow_deploy.artifact.files import sync_folder
    from glow_deploy.images import png_bytes, x_to_values

    open_folder(out)
    written = []
    for row, name in enumerate(file_names(names)):
        if decoded.finite[row]:
            write_whole(out / name, png_bytes(x_to_values(decoded.x[row : row + 1], n_bits)[0]))
            written.append(name)
    sync_folder(out)
    return written


def _write_one(out: Path, names: tuple[str, ...], decoded: Decoded, n_bits: int) -> list[str]:
    """Write one PNG: the picture itself, or a grid of those that are finite."""
    from glow_deploy.errors import DataError
    from glow_deploy.images import grid, write_png, x_to_values

    if not decoded.finite.any():
        raise DataError(f"none of the {len(names)} latents decodes to finite values, so there is no picture to write")
    values = x_to_values(decoded.x[decoded.finite], n_bits)
    write_png(out, values[0] if len(names) == 1 else grid(values))
    return [out.name]

"""`glow-deploy encode`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common.classes import BEST, labels_for, parse_classes
from ..common.console import Output
from ..common.counting import counted
from ..common.engines import Flavor, OneEngine, one_engine, split_engine
from ..common.left_out import left_out_file, left_out_lines, write_left_out
from ..common.options import Batch, Device, Json, Quiet, Resize, Seed, SkipUnreadable, Threads, TrustEngine
from ..common.pictures import find_pictures, open_pictures

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from glow_deploy.data import ImageSet, LeftOut
    from glow_deploy.latents import Latents, PictureBatch


def encode(
    arguments: Annotated[
        list[Path],
        typer.Argument(
            metavar="[BUNDLE] IMAGE...",
            help="A bundle, unless --engine names a file; then pictures, or folders of them.",
        ),
    ],
    engine: OneEngine = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.npz", help="Where the latents go.")] = Path(
        "latents.npz"
    ),
    resize: Resize = False,
    skip_unreadable: SkipUnreadable = False,
    draws: Annotated[
        int,
        typer.Option(
            "--draws", metavar="N", min=0, help="Draws of dequantisation noise that bits/dim is averaged over."
        ),
    ] = 8,
    seed: Seed = 0,
    classes: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="Y[,Y...]|best",
            help="For class-conditional models: one for all, one an image, or whichever makes an image likeliest.",
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
    """Turn pictures into latents with their exact likelihood.

    Writes z1..zL, log_prob, bits_per_dim, bits_per_dim_centre and names as an .npz, and y for class-conditional models.
    bits_per_dim is averaged over dequantisation noise; the value at the bin centre is systematically lower and serves
    to compare backends. --class best also writes class_log_prob, each picture's log-likelihood under every class.

    Data sets beyond one process: `glow-deploy bulk encode`.
    """
    from glow_deploy.artifact.flavors import graph_backend
    from glow_deploy.engines.open import open_engine
    from glow_deploy.errors import DataError, UsageError
    from glow_deploy.latents import EncodeSettings, concatenate_latents, encode_stream, need_role, save_latents

    output = Output(quiet=quiet, json=json)
    best = classes == BEST
    chosen = None if best else parse_classes(classes, words=(BEST,))
    settings = EncodeSettings(draws=draws, seed=seed, batch=batch, best_class=best)
    bundle, images = split_engine(arguments, engine=engine)
    path = one_engine(bundle, engine, role="encoder", flavor=flavor)
    if not images:
        raise UsageError(f"there is nothing to encode: name pictures after {path if bundle is None else bundle}")
    files, notes = find_pictures(images)
    with (
        output.progress() as bars,
        open_engine(
            path, backend=graph_backend(flavor), device=device, threads=threads, trust_engine=trust_engine
        ) as encoder,
    ):
        need_role(encoder, "encoder", "encoding")
        labels = None if best else labels_for(encoder, chosen, len(files), what="pictures")
        shape = next(spec.shape for spec in encoder.inputs if spec.name == "x")
        found = open_pictures(
            files,
            shape,
            resize=resize,
            skip_unreadable=skip_unreadable,
            progress=bars.counter("reading headers"),
        )
        skipped = list(found.left_out)
        batches = _read(found, batch, labels, skipped if skip_unreadable else None)
        count = bars.counter("encoding")
        parts = []
        for part in encode_stream(encoder, batches, settings=settings):
            parts.append(part)
            count(sum(map(len, parts)), len(found))
        if not parts:
            raise DataError(f"none of {len(files)} pictures can be read; the first: {skipped[0].reason}")
        latents = concatenate_latents(parts)
        provider = f"{encoder.details.backend} ({encoder.details.provider}, {encoder.details.device})"
    save_latents(out, latents)
    listed = left_out_file(out)
    if skip_unreadable:
        write_left_out(listed, skipped)
    figures = {
        "bits_per_dim": latents.bits_per_dim,
        "bits_per_dim_centre": latents.bits_per_dim_centre,
        "log_prob": latents.log_prob,
    }
    rows: list[dict[str, Any]] = [
        {"name": name, **{key: None if values is None else float(values[row]) for key, values in figures.items()}}
        for row, name in enumerate(latents.names)
    ]
    _add_classes(rows, latents)
    notes = (*notes, *found.notes)
    output.write_json(
        {
            "out": out,
            "backend": encoder.details.backend,
            "draws": draws,
            "images": rows,
            "skipped": [left.reason for left in skipped],
            "notes": notes,
        },
        schema="encode",
    )
    for note in notes:
        output.say(f"note: {note}")
    output.say(f"{counted(len(rows), 'picture')} encoded on {provider}")
    for row in rows[:16]:
        value, centre = row["bits_per_dim"], row["bits_per_dim_centre"]
        shown = f"{centre:.4f} bits/dim at the bin centre" if value is None else f"{value:.4f} bits/dim"
        if "posterior" in row:
            shown += f", class {row['class']} with probability {row['posterior']:.2f}"
        output.say(f"  {row['name']}: {shown}")
    if len(rows) > 16:
        output.say(f"  ... and {len(rows) - 16} more")
    if latents.bits_per_dim is not None and len(rows) > 1:
        output.say(f"mean: {latents.bits_per_dim.mean():.4f} bits/dim over {draws} draws of noise")
    for line in left_out_lines(skipped, listed):
        output.say(line)
    output.say(f"wrote {out}")


def _add_classes(rows: list[dict[str, Any]], latents: Latents) -> None:
    """Put the class into each row of a class-conditional model, and its probability where it was chosen by that."""
    from glow_deploy.latents import class_posterior

    if latents.labels is None:
        return
    for row, label in zip(rows, latents.labels, strict=True):
        row["class"] = int(label)
    if latents.class_log_prob is not None:
        for row, share in zip(rows, class_posterior(latents.class_log_prob).max(axis=1), strict=True):
            row["posterior"] = float(share)


def _read(
    pictures: ImageSet, batch: int, labels: npt.NDArray[np.int64] | None, skipped: list[LeftOut] | None
) -> Iterator[PictureBatch]:
    import numpy as np

    from glow_deploy.latents import PictureBatch

    for first in range(0, len(pictures), batch):
        values, rows = pictures.batch_of(np.arange(first, min(first + batch, len(pictures))), left_out=skipped)
        if not len(rows):
            continue
        numbers = rows if pictures.numbers is None else pictures.numbers[rows]  # among the files that were named
        yield PictureBatch(
            values=values,
            names=[pictures.name(row) for row in rows.tolist()],
            labels=None if labels is None else labels[numbers],
        )

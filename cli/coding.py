"""`glow-deploy encode` and `glow-deploy decode`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .classes import BEST, parse_classes
from .console import Output
from .options import Batch, Device, Engine, Json, Quiet, Resize, Seed, TrustEngine
from .targets import write_whole

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from glow_deploy.engines.protocol import Engine as OpenEngine
    from glow_deploy.latents import Latents, PictureBatch

_LONGEST_NAME = 200  # bytes; leaves room for a number and the suffix


def encode(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE...", help="Pictures, or folders of pictures.")],
    engine: Engine,
    out: Annotated[Path, typer.Option("--out", metavar="FILE.npz", help="Where the latents go.")] = Path("latents.npz"),
    resize: Resize = False,
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
    batch: Batch = 64,
    device: Device = "auto",
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Turn pictures into latents with their exact likelihood.

    Writes z1..zL, log_prob, bits_per_dim, bits_per_dim_centre and names as an .npz, and y for class-conditional models.
    bits_per_dim is averaged over dequantisation noise; the value at the bin centre is systematically lower and serves
    to compare backends. --class best also writes class_log_prob, each picture's log-likelihood under every class.
    """
    from glow_deploy.engines.open import open_engine
    from glow_deploy.latents import EncodeSettings, concatenate_latents, encode_stream, need_role, save_latents

    output = Output(quiet=quiet, json=json)
    best = classes == BEST
    chosen = None if best else parse_classes(classes, words=(BEST,))
    settings = EncodeSettings(draws=draws, seed=seed, batch=batch, best_class=best)
    files = find_pictures(images)
    with output.progress() as bars, open_engine(engine, device=device, trust_engine=trust_engine) as encoder:
        need_role(encoder, "encoder", "encoding")
        labels = None if best else _labels(encoder, chosen, len(files), what="pictures")
        count = bars.counter("encoding")
        parts = []
        for part in encode_stream(encoder, _read(files, encoder, batch, labels, resize), settings=settings):
            parts.append(part)
            count(sum(map(len, parts)), len(files))
        latents = concatenate_latents(parts)
        provider = f"{encoder.details.backend} ({encoder.details.provider}, {encoder.details.device})"
    save_latents(out, latents)
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
    output.write_json({"out": out, "backend": encoder.details.backend, "draws": draws, "images": rows})
    output.say(f"{len(files)} pictures encoded on {provider}")
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
    output.say(f"wrote {out}")


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
    from glow_deploy.engines.open import open_engine
    from glow_deploy.errors import UsageError
    from glow_deploy.files import sync_folder
    from glow_deploy.images import png_bytes, x_to_values
    from glow_deploy.latents import decode_latents, load_latents, need_role

    output = Output(quiet=quiet, json=json)
    chosen = parse_classes(classes)
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; name a folder")
    with output.progress() as bars, open_engine(engine, device=device, trust_engine=trust_engine) as decoder:
        need_role(decoder, "decoder", "decoding")
        found = load_latents(latents, decoder.inputs, num_classes=decoder.num_classes, need_y=chosen is None)
        labels = found.labels if chosen is None else _labels(decoder, chosen, len(found), what="rows")
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


def find_pictures(paths: list[Path]) -> list[Path]:
    """Return the files among `paths`, folders replaced by the pictures in them, sorted by name.

    Raises:
        DataError: a path does not exist, or a folder holds no pictures.
    """
    from glow_deploy.errors import DataError
    from glow_deploy.images import PICTURE_SUFFIXES

    files = []
    for path in paths:
        if not path.is_dir():
            files.append(path)
            continue
        # What a system hides beside pictures (._face.png, .thumbnails/) is none of the user's.
        seen = (item for item in path.rglob("*") if not any(p.startswith(".") for p in item.relative_to(path).parts))
        found = sorted(item for item in seen if item.suffix.lower() in PICTURE_SUFFIXES and item.is_file())
        if not found:
            raise DataError(f"{path} holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))})")
        files.extend(found)
    return files


def file_names(names: tuple[str, ...]) -> list[str]:
    """Make one safe PNG name for each row: the last part of its name, numbered where two are alike.

    A latent file may come from anywhere, so nothing in it may name a place outside the folder. Names end after 200
    bytes of UTF-8, because file systems allow 255.
    """
    stems = []
    for name in names:
        stem = name.replace("\\", "/").rpartition("/")[2]
        stem = stem.removesuffix(Path(stem).suffix)
        kept = "".join(letter if letter.isalnum() or letter in "-_. " else "_" for letter in stem)
        short = kept.encode("utf-8", "ignore")[:_LONGEST_NAME].decode("utf-8", "ignore")
        stems.append(short.strip(". ") or "picture")
    used: set[str] = set()
    result = []
    for stem in stems:
        name, number = stem, 2
        while name.casefold() in used:
            name, number = f"{stem}-{number}", number + 1
        used.add(name.casefold())
        result.append(f"{name}.png")
    return result


def _labels(
    engine: OpenEngine, classes: tuple[int, ...] | None, count: int, *, what: str
) -> npt.NDArray[np.int64] | None:
    """The label of every picture or row, checked against the model before anything is run."""
    from glow_deploy.errors import UsageError
    from glow_deploy.latents import check_labels

    if classes is not None and engine.num_classes is not None and len(classes) not in (1, count):
        raise UsageError(f"--class names {len(classes)} classes for {count} {what}; give one, or one for each")
    return check_labels(engine, classes * count if classes is not None and len(classes) == 1 else classes, count)


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
    files: list[Path], encoder: OpenEngine, batch: int, labels: npt.NDArray[np.int64] | None, resize: bool
) -> Iterator[PictureBatch]:
    import numpy as np

    from glow_deploy.images import read_picture
    from glow_deploy.latents import PictureBatch

    channels, height, width = next(spec.shape for spec in encoder.inputs if spec.name == "x")
    for first in range(0, len(files), batch):
        part = files[first : first + batch]
        pictures = [read_picture(path, size=(height, width), channels=channels, resize=resize) for path in part]
        yield PictureBatch(
            values=np.stack(pictures),
            names=[str(path) for path in part],
            labels=None if labels is None else labels[first : first + batch],
        )

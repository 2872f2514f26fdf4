"""`glow-deploy sample`."""

from __future__ import annotations

import itertools
import math
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import Output
from .options import Batch, Device, Engine, Json, Quiet, Seed, Temperature, TrustEngine

if TYPE_CHECKING:
    from glow_deploy.latents import SampleBatch

# More than this in one grid is a wall nobody looks at.
_LARGEST_GRID = 1024
_MOST_COLUMNS = 64
_ALL = "all"


def sample(
    engine: Engine,
    count: Annotated[int, typer.Option("-n", "--count", metavar="N", min=1, help="How many samples.")] = 16,
    temperature: Temperature = 0.7,
    seed: Seed = 0,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="FILE.png|DIR",
            help="FILE.png: one grid. A folder (there already, or no suffix): one picture a sample, in bounded memory.",
        ),
    ] = Path("samples.png"),
    classes: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="Y[,Y...]|all",
            help="For class-conditional models: taken in turn, a column of the grid each.",
        ),
    ] = None,
    batch: Batch = 64,
    device: Device = "auto",
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Draw samples from a decoder and write them as PNG.

    The same seed gives the same latents on every backend and batch size. Draws that do not decode to finite values are
    counted, drawn again and never written.
    """
    from glow_deploy.engines.open import open_engine
    from glow_deploy.errors import UsageError
    from glow_deploy.latents import SampleSettings
    from glow_deploy.latents import sample as draw

    output = Output(quiet=quiet, json=json)
    folder = is_folder(out)
    if not folder and count > _LARGEST_GRID:
        raise UsageError(f"{count} samples do not fit one picture; name a folder: --out {out.with_suffix('')}/")
    labels = None if classes == _ALL else parse_classes(classes, words=(_ALL,))
    settings = SampleSettings(temperature=temperature, seed=seed, batch=batch, labels=labels)
    with output.progress() as bars, open_engine(engine, device=device, trust_engine=trust_engine) as decoder:
        if classes == _ALL:
            settings = replace(settings, labels=tuple(range(decoder.num_classes or 1)))
        batches = draw(decoder, count=count, settings=settings, progress=bars.counter("sampling"))
        tally = _Tally()
        write = _write_files if folder else _write_grid
        write(tally.watch(batches), out, decoder.n_bits, count, settings.labels)
        provider = f"{decoder.details.backend} ({decoder.details.provider}, {decoder.details.device})"
    output.write_json(
        {
            "out": out,
            "count": count,
            "seed": seed,
            "temperature": temperature,
            "classes": settings.labels,
            "backend": decoder.details.backend,
            "device": decoder.details.device,
            "nonfinite_draws": tally.nonfinite,
            "redrawn_samples": tally.redrawn,
        }
    )
    output.say(f"{count} samples at temperature {temperature:g}, seed {seed}, on {provider}")
    output.say(
        f"non-finite draws: {tally.nonfinite}"
        + (f", {tally.redrawn} samples were drawn again" if tally.redrawn else "")
    )
    columns = None if folder or settings.labels is None else class_columns(count, len(settings.labels))
    output.say(f"wrote {out}{'/' if folder else ''}" + (", each column of one class" if columns else ""))


class _Tally:
    """Counts what passes by."""

    def __init__(self) -> None:
        self.nonfinite = 0
        self.redrawn = 0

    def watch(self, batches: Iterable[SampleBatch]) -> Iterator[SampleBatch]:
        for batch in batches:
            self.nonfinite += batch.nonfinite
            self.redrawn += batch.redrawn
            yield batch


def _write_grid(
    batches: Iterable[SampleBatch], out: Path, n_bits: int, count: int, labels: tuple[int, ...] | None
) -> None:
    from glow_deploy.images import grid, write_png, x_to_values
    from glow_deploy.latents import concatenate_samples

    columns = class_columns(count, 1 if labels is None else len(labels))
    write_png(out, grid(x_to_values(concatenate_samples(batches).x, n_bits), columns=columns))


def _write_files(
    batches: Iterable[SampleBatch], out: Path, n_bits: int, count: int, _labels: tuple[int, ...] | None
) -> None:
    from glow_deploy.images import png_bytes, x_to_values

    digits = max(4, len(str(count - 1)))
    batches = iter(batches)
    first = next(batches)  # the folder is made only once the engine has proved that it can draw
    out.mkdir(parents=True, exist_ok=True)
    for batch in itertools.chain([first], batches):
        for row, values in enumerate(x_to_values(batch.x, n_bits)):
            ending = "" if batch.labels is None else f"-class{batch.labels[row]}"
            write_whole(out / f"sample-{batch.indices[row]:0{digits}d}{ending}.png", png_bytes(values))
    sync_folder(out)


def class_columns(count: int, classes: int) -> int | None:
    """Return columns for a grid of `count` samples whose classes take turns, so that each column is of one class.

    A multiple of the number of classes, the grid as square as that allows; None where nothing takes turns, or the
    classes are too many for one row.
    """
    if not 1 < classes <= _MOST_COLUMNS:
        return None
    return classes * max(1, round(math.sqrt(count) / classes))


def write_whole(path: Path, data: bytes) -> None:
    """Write one of many files whole or not at all, should this process end.

    Not on disk for certain when it returns, for waiting each time would take longest: a power cut may lose or empty
    files written shortly before. `sync_folder` after the last one makes their names durable.
    """
    # Exclusive and unpredictable: a link that somebody else left under this name is not followed.
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on disk; once after many files of `write_whole`."""
    with suppress(OSError):  # Windows cannot open folders
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def is_folder(out: Path) -> bool:
    """Tell whether `--out` names a folder (it exists as one, or has no suffix) or a PNG file.

    Raises:
        UsageError: the suffix is another than `.png`.
    """
    from glow_deploy.errors import UsageError

    if out.is_dir() or not out.suffix:
        return True
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: pictures are written as PNG; name a .png file or a folder")
    return False


def parse_classes(text: str | None, *, words: tuple[str, ...] = ()) -> tuple[int, ...] | None:
    """Parse `--class 3` or `--class 0,1,2`.

    Args:
        text: as typed, or None.
        words: what may be given instead of numbers, for the message.

    Raises:
        UsageError: not whole numbers.
    """
    from glow_deploy.errors import UsageError

    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    # Nine digits are more than enough, and far longer ones Python itself or int64 refuses.
    if not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in parts):
        or_word = "".join(f", or {word}" for word in words)
        raise UsageError(f"--class is {text[:32]!r}; give whole numbers, such as 3 or 0,1,2{or_word}")
    return tuple(int(part) for part in parts)

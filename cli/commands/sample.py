"""`glow-deploy sample`."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..common.classes import parse_classes
from ..common.console import Output
from ..common.counting import counted
from ..common.engines import Flavor, OneBundle, OneEngine, one_engine
from ..common.numbers import parse_temperatures
from ..common.options import Batch, Device, Json, Quiet, Seed, Threads, TrustEngine
from ..common.targets import MOST_CELLS, check_target, is_folder, open_folder, write_whole

if TYPE_CHECKING:
    from glow_deploy.latents import SampleBatch
    from glow_deploy.protocol import Engine as OpenEngine

_MOST_COLUMNS = 64
_SWEEP_COLUMNS = 8
_ALL = "all"


def sample(
    bundle: OneBundle = None,
    engine: OneEngine = None,
    count: Annotated[
        int | None,
        typer.Option("-n", "--count", metavar="N", min=1, help="How many samples: 16, or 8 a row of a --sweep."),
    ] = None,
    temperature: Annotated[
        str,
        typer.Option(
            "--temperature",
            "-t",
            metavar="X[,X...]",
            help="Scales every latent, 0 to 100; 1 is the model itself. Several: one a level, z1, the finest, first.",
        ),
    ] = "0.7",
    sweep: Annotated[
        str | None,
        typer.Option(metavar="X,X,...", help="One row of the grid for each temperature, of the same samples."),
    ] = None,
    seed: Seed = 0,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.png|FILE.npz|DIR",
            help="FILE.png: one grid. FILE.npz: the images as one array. A folder (there already, or no suffix): one "
            "picture a sample, in bounded memory.",
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
    flavor: Flavor = "onnx",
    batch: Batch = 64,
    device: Device = "auto",
    threads: Threads = None,
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Draw samples from a decoder and write them as PNG or NPZ.

    The same seed gives the same latents on every backend and batch size. Draws that do not decode to finite values are
    counted, drawn again and never written.

    Millions of samples: `glow-deploy bulk sample`.
    """
    from glow_deploy.artifact.flavors import graph_backend
    from glow_deploy.engines.open import open_engine
    from glow_deploy.errors import UsageError
    from glow_deploy.latents import SampleSettings
    from glow_deploy.latents import sample as draw

    output = Output(quiet=quiet, json=json)
    path = one_engine(bundle, engine, role="decoder", flavor=flavor)
    target = target_of(out)
    if target != "folder":
        check_target(out)
    rows = None if sweep is None else parse_temperatures(sweep, "--sweep")
    count = count or (_SWEEP_COLUMNS if rows else 16)
    if target == "grid" and count * len(rows or (0,)) > MOST_CELLS:
        raise UsageError(f"{count} samples do not fit one picture; name a folder: --out {out.with_suffix('')}/")
    if rows is not None and (target != "grid" or temperature != "0.7"):
        raise UsageError("--sweep draws one grid of its own temperatures: leave --temperature away, and give FILE.png")
    labels = None if classes == _ALL else parse_classes(classes, words=(_ALL,))
    own = parse_temperatures(temperature, "--temperature")
    settings = SampleSettings(temperature=own if len(own) > 1 else own[0], seed=seed, batch=batch, labels=labels)
    tally = _Tally()
    with (
        output.progress() as bars,
        open_engine(
            path, backend=graph_backend(flavor), device=device, threads=threads, trust_engine=trust_engine
        ) as decoder,
    ):
        if classes == _ALL:
            settings = replace(settings, labels=tuple(range(decoder.num_classes or 1)))
        counter = bars.counter("sampling")
        if rows is not None:
            runs = [replace(settings, temperature=value) for value in rows]
            _write_sweep([tally.watch(draw(decoder, count=count, settings=run)) for run in runs], out, decoder, rows)
        else:
            write = {"grid": _write_grid, "npz": _write_npz, "folder": _write_files}[target]
            batches = draw(decoder, count=count, settings=settings, progress=counter)
            write(tally.watch(batches), out, decoder.n_bits, count, settings.labels)
        provider = f"{decoder.details.backend} ({decoder.details.provider}, {decoder.details.device})"
    output.write_json(
        {
            "out": out,
            "count": count,
            "seed": seed,
            "temperature": settings.temperature if rows is None else rows,
            "classes": settings.labels,
            "backend": decoder.details.backend,
            "device": decoder.details.device,
            "nonfinite_draws": tally.nonfinite,
            "redrawn_samples": tally.redrawn,
        },
        schema="sample",
    )
    if rows is None:
        words = (
            ", ".join(f"z{level} {value:g}" for level, value in enumerate(own, 1)) if len(own) > 1 else f"{own[0]:g}"
        )
        output.say(f"{counted(count, 'sample')} at temperature {words}, seed {seed}, on {provider}")
    else:
        words = ", ".join(f"{value:g}" for value in rows)
        output.say(f"{counted(count, 'sample')} at each of the temperatures {words}, seed {seed}, on {provider}")
    output.say(f"non-finite draws: {tally.nonfinite}" + (f"; drawn again: {tally.redrawn}" if tally.redrawn else ""))
    of_classes = target == "grid" and settings.labels is not None and rows is None
    columns = class_columns(count, len(settings.labels or ())) if of_classes else None
    output.say(f"wrote {out}{'/' if target == 'folder' else ''}" + (", each column of one class" if columns else ""))


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


def _write_sweep(
    runs: Sequence[Iterable[SampleBatch]], out: Path, decoder: OpenEngine, temperatures: tuple[float, ...]
) -> None:
    """One row a temperature, of the same samples."""
    import numpy as np

    from glow_deploy.images import caption_rows, grid, write_png, x_to_values
    from glow_deploy.latents import concatenate_samples

    rows = [x_to_values(concatenate_samples(run).x, decoder.n_bits) for run in runs]
    picture = grid(np.concatenate(rows), columns=len(rows[0]))
    write_png(out, caption_rows(picture, [f"T={value:g}" for value in temperatures]))


def _write_npz(
    batches: Iterable[SampleBatch], out: Path, n_bits: int, _count: int, _labels: tuple[int, ...] | None
) -> None:
    """Images and labels as `--data` reads them."""
    import numpy as np

    from glow_deploy.artifact.files import atomic_path
    from glow_deploy.images import x_to_values

    values, labels = [], []
    for batch in batches:  # as 8-bit pictures: the latents of thousands would not fit
        values.append(x_to_values(batch.x, n_bits).transpose(0, 2, 3, 1))
        labels.extend([] if batch.labels is None else [batch.labels])
    arrays = {"images": np.concatenate(values), **({"labels": np.concatenate(labels)} if labels else {})}
    with atomic_path(out) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **arrays)  # type: ignore[arg-type]  # the stubs mistake the arrays for `allow_pickle`


def _write_files(
    batches: Iterable[SampleBatch], out: Path, n_bits: int, count: int, _labels: tuple[int, ...] | None
) -> None:
    from glow_deploy.artifact.files import sync_folder
    from glow_deploy.images import png_bytes, x_to_values

    digits = max(4, len(str(count - 1)))
    batches = iter(batches)
    first = next(batches)  # the folder is made only once the engine has proved that it can draw
    open_folder(out)
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


def target_of(out: Path) -> Literal["grid", "npz", "folder"]:
    """Tell what `--out` asks for: one grid, one archive, or a picture each in a folder.

    Raises:
        UsageError: the suffix is another than `.png` and `.npz`.
    """
    if not out.is_dir() and out.suffix.lower() == ".npz":
        return "npz"
    return "folder" if is_folder(out) else "grid"

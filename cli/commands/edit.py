"""`glow-deploy edit`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common.classes import BEST, parse_classes
from ..common.clipping import clipped_line
from ..common.console import Output
from ..common.engines import Decoder, Encoder, Flavor, both_engines, split_bundle
from ..common.left_out import left_out_file, left_out_lines, write_left_out
from ..common.numbers import parse_amounts, parse_attributes
from ..common.options import Batch, Device, Json, Quiet, Resize, SkipUnreadable, Threads, TrustEngine
from ..common.pictures import file_names, find_pictures, open_pictures
from ..common.targets import MOST_CELLS, check_target, is_folder, open_folder, write_whole

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from glow_deploy.directions.directions import Directions
    from glow_deploy.directions.editing import Edited

_STRIP = "-1,-0.5,0,0.5,1"
_SHOWN = 16


def edit(
    arguments: Annotated[
        list[Path],
        typer.Argument(
            metavar="BUNDLE IMAGE...",
            help="A bundle (or --encoder and --decoder instead), and pictures, or folders of pictures.",
        ),
    ],
    directions: Annotated[
        Path | None, typer.Option("--directions", metavar="FILE.npz", help="As `directions` writes it for this model.")
    ] = None,
    attributes: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute",
            "-a",
            metavar="NAME[=AMOUNT]",
            help="What to add, or with a minus to remove; 1 is the distance between images with and without it. May be "
            "repeated: all are added at once.",
        ),
    ] = None,
    amounts: Annotated[
        str | None,
        typer.Option(
            "--amounts",
            metavar="X,X,...",
            help="A strip: so many times the attributes' own amounts, side by side; 0 is the reconstruction.",
        ),
    ] = None,
    strip: Annotated[bool, typer.Option("--strip", help=f"The same as --amounts {_STRIP}.")] = False,
    beyond: Annotated[
        bool,
        typer.Option("--beyond", help="Go beyond the measured ranges; what is not sound is scaled back all the same."),
    ] = False,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE.png|DIR",
            help="FILE.png: the edited picture, or a grid with a row for each of several pictures or a strip. A "
            "folder (there already, or no suffix): a file for each picture.",
        ),
    ] = Path("edited.png"),
    classes: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="Y[,Y...]|best",
            help="For class-conditional models: one for all, one an image, or whichever makes an image likeliest.",
        ),
    ] = None,
    resize: Resize = False,
    skip_unreadable: SkipUnreadable = False,
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
    """Add attributes to pictures or remove them: smiles, hats, whatever `directions` was shown.

    Amounts are kept within the ranges that `directions` measured. An edit that would still not decode to a sound
    picture is scaled back towards the image until it does, and that is said; nothing non-finite is ever written.

    Data sets beyond one process: `glow-deploy bulk edit`.
    """
    import numpy as np

    from glow_deploy.artifact.files import sync_folder
    from glow_deploy.artifact.identity import engine_model_id
    from glow_deploy.directions.editing import EditSettings, edit_latents
    from glow_deploy.directions.files import load_directions
    from glow_deploy.engines.pair import pair_files
    from glow_deploy.errors import DataError, UsageError
    from glow_deploy.images import x_to_values
    from glow_deploy.latents import EncodeSettings, encode_images

    output = Output(quiet=quiet, json=json)
    bundle, paths = split_bundle(arguments, encoder=encoder, decoder=decoder)
    if not paths:
        raise UsageError("no pictures were named after the engines; give at least one")
    if directions is None:
        raise UsageError(
            "name a file of directions with --directions; "
            "`glow-deploy directions BUNDLE --data SPEC -o FILE.npz` makes one from pictures with attributes"
        )
    if not attributes:
        raise UsageError(
            "say what to add with --attribute, such as --attribute smiling; `glow-deploy directions` told the names "
            f"when it wrote {directions}"
        )
    files, notes = find_pictures(paths)
    asked = parse_attributes(attributes)
    if amounts is not None and strip:
        raise UsageError(f"--strip is short for --amounts {_STRIP}; give one of the two")
    factors = parse_amounts(_STRIP if strip else amounts)
    edits = [{name: factor * amount for name, amount in asked.items()} for factor in factors]
    folder = is_folder(out)
    if not folder:
        check_target(out)
    if not folder and len(files) * len(factors) > MOST_CELLS:
        raise UsageError(
            f"{len(files) * len(factors)} pictures do not fit one file; name a folder: --out {out.with_suffix('')}/"
        )
    best = classes == BEST
    labels = _labels(None if best else parse_classes(classes, words=(BEST,)), len(files))
    _, second = pair_files(bundle, encoder=encoder, decoder=decoder, flavor=flavor)
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
        found = load_directions(directions, opened_decoder.inputs, model_id=engine_model_id(second))
        shape = next(spec.shape for spec in opened_encoder.inputs if spec.name == "x")
        known = open_pictures(files, shape, resize=resize, skip_unreadable=skip_unreadable)
        skipped = list(known.left_out)
        details, n_bits = opened_decoder.details, opened_decoder.n_bits
        count = bars.counter("editing")
        names = file_names(tuple(map(str, files)))
        records: list[dict[str, Any]] = []
        cuts: list[str] = []
        damped: list[str] = []
        outside: list[npt.NDArray[np.floating]] = []
        excess: list[float] = []
        # One grid is made of all pictures; for a folder no more of them than run at once are in memory.
        at_once = max(1, batch // len(factors)) if folder else len(known)
        for first in range(0, len(known), at_once):
            values, readable = known.batch_of(
                np.arange(first, min(first + at_once, len(known))), left_out=skipped if skip_unreadable else None
            )
            # Numbers among the files that were named, which labels and names go by.
            rows = (readable if known.numbers is None else known.numbers[readable]).tolist()
            if not rows:
                continue
            part = [files[row] for row in rows]
            latents = encode_images(
                opened_encoder,
                values,
                settings=EncodeSettings(draws=0, batch=batch, best_class=best),
                names=[str(path) for path in part],
                labels=None if labels is None else [labels[row] for row in rows],
            )
            edited = edit_latents(
                opened_encoder,
                opened_decoder,
                latents,
                found,
                edits=edits,
                settings=EditSettings(beyond=beyond, batch=batch),
                progress=None if folder else count,
            )
            flat = edited.x.reshape(-1, *edited.x.shape[2:])
            pictures = x_to_values(flat, n_bits).reshape(edited.x.shape)
            if folder:
                _write_files(pictures, out, [names[row] for row in rows])
                count(first + at_once, len(known))
            else:
                _write_grid(pictures, out, factors)
            records += _records(edited, part)
            cuts = _cuts(edited, found)  # of the amounts asked for, the same for every picture
            damped += _damped(edited, part)
            outside.append(((edited.x < 0) | (edited.x >= 1)).mean(axis=(2, 3, 4)))
            excess += (edited.overshoot * 2**n_bits).ravel().tolist()
    if not records:
        raise DataError(f"none of {len(files)} pictures can be read; the first: {skipped[0].reason}")
    if folder:
        sync_folder(out)
    listed = left_out_file(out, folder=folder)
    if skip_unreadable:
        write_left_out(listed, skipped)
    notes = (*notes, *known.notes)
    output.write_json(
        {
            "out": out,
            "backend": details.backend,
            "directions": directions,
            "beyond": beyond,
            "images": records,
            "skipped": [left.reason for left in skipped],
            "notes": notes,
        },
        schema="edit",
    )
    for note in notes:
        output.say(f"note: {note}")
    what = f"{len(records)} pictures" if len(files) > 1 else str(files[0])
    output.say(f"{what} edited on {details.backend} ({details.provider}, {details.device})")
    for line in (*cuts, *damped[:_SHOWN]):
        output.say(line)
    if len(damped) > _SHOWN:
        output.say(f"... and {len(damped) - _SHOWN} more were damped")
    clipped = clipped_line(np.concatenate(outside).ravel(), np.array(excess))
    if clipped is not None:
        output.say(clipped)
    for line in left_out_lines(skipped, listed):
        output.say(line)
    output.say(f"wrote {out}{'/' if folder else ''}")


def _labels(classes: tuple[int, ...] | None, count: int) -> tuple[int, ...] | None:
    from glow_deploy.errors import UsageError

    if classes is None or len(classes) == count:
        return classes
    if len(classes) != 1:
        raise UsageError(f"--class names {len(classes)} classes for {count} pictures; give one, or one for each")
    return classes * count


def _write_grid(pictures: npt.NDArray[np.uint8], out: Path, factors: Sequence[float]) -> None:
    """One picture of all: uint8 [n, m, C, H, W], the m amounts above their columns."""
    from glow_deploy.images import caption_columns, grid, write_png

    count = pictures.shape[1]
    flat = pictures.reshape(-1, *pictures.shape[2:])
    if len(flat) == 1:
        write_png(out, flat[0])
    elif count == 1:
        write_png(out, grid(flat))
    else:
        words = [f"{factor:+g}" if factor else "0" for factor in factors]
        write_png(out, caption_columns(grid(flat, columns=count), words))


def _write_files(pictures: npt.NDArray[np.uint8], out: Path, names: Sequence[str]) -> None:
    """One file for each image: uint8 [n, m, C, H, W]."""
    from glow_deploy.images import grid, png_bytes

    open_folder(out)
    for name, row in zip(names, pictures, strict=True):
        write_whole(out / name, png_bytes(row[0] if len(row) == 1 else grid(row, columns=len(row))))


def _records(edited: Edited, files: Sequence[Path]) -> list[dict[str, Any]]:
    def by_name(amounts: npt.NDArray[np.float64]) -> Mapping[str, float]:
        return {name: float(amount) for name, amount in zip(edited.names, amounts, strict=True)}

    return [
        {
            "name": str(file),
            "edits": [
                {
                    "asked": by_name(edited.asked[edit]),
                    "applied": by_name(edited.applied[row, edit]),
                    "kept": float(edited.kept[row, edit]),
                    "fault": edited.faults[row][edit] or None,
                    "round_trip": float(edited.round_trip[row, edit]),
                    "overshoot": float(edited.overshoot[row, edit]),
                }
                for edit in range(len(edited.asked))
            ],
        }
        for row, file in enumerate(files)
    ]


def _cuts(edited: Edited, directions: Directions) -> list[str]:
    """Which amounts were cut to their range."""
    lines = []
    for column, name in enumerate(edited.names):
        cut = edited.asked[:, column] != edited.used[:, column]
        if cut.any():
            low, high = directions[name].range
            wanted = ", ".join(f"{amount:g}" for amount in dict.fromkeys(edited.asked[cut, column].tolist()))
            lines.append(
                f"cut: {name}={wanted} to the range {low:.2f} to {high:.2f} in which {directions.survival:.0%} of "
                "held-out images stay sound; --beyond goes farther"
            )
    return lines


def _damped(edited: Edited, files: Sequence[Path]) -> list[str]:
    """Which edits were scaled back, and why."""
    lines = []
    for row, file in enumerate(files):
        for column in edited.damped[row].nonzero()[0].tolist():
            shown = ", ".join(
                f"{name}={amount:g}" for name, amount in zip(edited.names, edited.used[column], strict=True)
            )
            lines.append(
                f"damped: {file} with {shown} {edited.faults[row][column]}; {edited.kept[row, column]:.0%} of the "
                "edit is sound and was applied"
            )
    return lines

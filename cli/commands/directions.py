"""`glow-deploy directions`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..common.classes import BEST, parse_classes
from ..common.console import Output
from ..common.engines import Bundle, Decoder, Encoder, Flavor, both_engines
from ..common.left_out import left_out_file, left_out_lines, write_left_out
from ..common.options import Batch, Device, Json, Quiet, Resize, SkipUnreadable, Threads, TrustEngine
from ..common.reading import Depth, FloatRange, Layout, reading_of
from ..common.targets import check_target

if TYPE_CHECKING:
    from rich.table import Table

    from glow_deploy.directions.directions import Attribute, Directions


def directions(
    data: Annotated[
        str,
        typer.Option(
            "--data",
            metavar="SPEC",
            help="Labelled images: [b]faces[/b], an .npz with attributes, a set with classes, or, with --labels, a "
            "folder of pictures.",
        ),
    ],
    bundle: Bundle = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            "--labels",
            metavar="FILE.csv|.txt|.npz",
            help="Who has what: CSV (file name, then 0/1, -1/1 or true/false), CelebA's list_attr, or an .npz.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="FILE.npz", help="Where the directions go; `edit` takes it.")
    ] = Path("directions.npz"),
    tags: Annotated[
        str | None, typer.Option("--tags", metavar="NAME[,NAME...]", help="Only these attributes of the set.")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="Only so many images, averaged over and held out each."),
    ] = None,
    fewest: Annotated[
        int, typer.Option("--fewest", metavar="N", min=1, help="Leave out what fewer images have, or lack.")
    ] = 10,
    farthest: Annotated[
        float, typer.Option("--farthest", metavar="X", help="Search ranges up to this amount, in both ways.")
    ] = 3.0,
    range_images: Annotated[
        int, typer.Option("--range-images", metavar="N", min=1, help="Held-out images for each end of a range.")
    ] = 32,
    classes: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="Y|best",
            help="For class-conditional models: one for all, or whichever makes an image likeliest; without it the "
            "set's own labels.",
        ),
    ] = None,
    resize: Resize = False,
    skip_unreadable: SkipUnreadable = False,
    layout: Layout = None,
    float_range: FloatRange = None,
    depth: Depth = None,
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
    """Find the directions of attributes in a model's latents, and how far they carry.

    As in the Glow paper: the mean latent of images with an attribute minus that of images without it. Each direction is
    measured on held-out images: how well it tells the attribute (AUC, 0.5 is chance), and the range of amounts within
    which 95 % of them still decode to pictures that the encoder takes back to where they were.
    """
    from glow_deploy.arguments import as_real
    from glow_deploy.artifact.identity import engine_model_id
    from glow_deploy.directions.directions import DirectionSettings, measure_directions
    from glow_deploy.directions.files import save_directions
    from glow_deploy.directions.labelled import load_labelled
    from glow_deploy.engines.pair import pair_files
    from glow_deploy.errors import EngineError, UsageError

    output = Output(quiet=quiet, json=json)
    check_target(out)
    best = classes == BEST
    chosen = None if best else parse_classes(classes, words=(BEST,))
    if chosen is not None and len(chosen) != 1:
        raise UsageError(f"--class names {len(chosen)} classes; give one for all images, or leave it out")
    settings = DirectionSettings(
        fewest=fewest,
        limit=as_real("--farthest", farthest, above=0, most=100),
        images=range_images,
        batch=batch,
        label=None if chosen is None else chosen[0],
        best_class=best,
    )
    first, _ = pair_files(bundle, encoder=encoder, decoder=decoder, flavor=flavor)
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
        model_id = engine_model_id(first)
        if model_id is None:
            raise EngineError(f"{first} has no sidecar, so nothing says whose directions these would be; compile again")
        channels, height, width = next(spec.shape for spec in opened_encoder.inputs if spec.name == "x")
        images = load_labelled(
            data,
            labels=labels,
            tags=None if tags is None else [tag.strip() for tag in tags.split(",")],
            size=(height, width),
            channels=channels,
            resize=resize,
            limit=limit,
            skip_unreadable=skip_unreadable,
            reading=reading_of(layout=layout, float_range=float_range, depth=depth),
            progress=bars.stage,
        )
        found = measure_directions(
            opened_encoder, opened_decoder, images, model_id=model_id, settings=settings, progress=bars.stage
        )
        details = opened_encoder.details
    save_directions(out, found)
    listed = left_out_file(out)
    if skip_unreadable:
        write_left_out(listed, images.left_out)
    output.write_json(
        {
            "out": out,
            "backend": details.backend,
            "model_id": model_id,
            "source": found.source,
            "averaged": len(images.train),
            "held_out": len(images.held_out),
            "survival": found.survival,
            "farthest": found.limit,
            "attributes": [_record(attribute) for attribute in found.attributes],
            "left_out": found.left_out,
            "notes": images.all_notes,
            "skipped": [left.reason for left in images.left_out],
        },
        schema="directions",
    )
    output.say(
        f"{len(images.train):,} images averaged, {len(images.held_out):,} held out, of {found.source}, on "
        f"{details.backend} ({details.provider}, {details.device})"
    )
    output.show(_table(found))
    output.say(f"ranges are searched up to {found.limit:g}; < and > mean that they do not end there")
    for name, reason in found.left_out.items():
        output.say(f"left out: {name}: {reason}")
    for note in images.all_notes:
        output.say(f"note: {note}")
    for line in left_out_lines(images.left_out, listed):
        output.say(line)
    output.say(f"wrote {out}")


def _record(attribute: Attribute) -> dict[str, Any]:
    low, high = attribute.range
    return {
        "name": attribute.name,
        "with": attribute.counts[0],
        "without": attribute.counts[1],
        "held_out_with": attribute.held_out[0],
        "held_out_without": attribute.held_out[1],
        "auc": attribute.auc,
        "auc_interval": attribute.auc_interval,
        "auc_by_level": attribute.auc_by_level,
        "range": [low, high],
        "range_median": [-attribute.removing.median, attribute.adding.median],
        "range_images": [attribute.removing.images, attribute.adding.images],
    }


def _table(found: Directions) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("attribute", no_wrap=True)
    for heading in ("with", "without", "AUC, held out (95 %)", f"range, {found.survival:.0%} sound", "half sound"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in found.attributes:
        low, high = one.auc_interval
        table.add_row(
            Text(one.name),
            f"{one.counts[0]:,}",
            f"{one.counts[1]:,}",
            f"{one.auc:.3f} ({low:.3f}-{high:.3f})",
            _ends(one.removing.amount, one.adding.amount, found.limit),
            _ends(one.removing.median, one.adding.median, found.limit),
        )
    return table


def _ends(removing: float, adding: float, limit: float) -> str:
    """`-1.25 .. >3`: a range that ends where the search did may reach farther."""
    low = f"<{-limit:g}" if removing >= limit else f"-{removing:.2f}"
    high = f">{limit:g}" if adding >= limit else f"{adding:.2f}"
    return f"{low} .. {high}"

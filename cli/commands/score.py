"""`glow-deploy score`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..common.classes import BEST, parse_classes
from ..common.console import Output
from ..common.engines import Flavor, FlavorName
from ..common.left_out import left_out_file, left_out_lines, write_left_out
from ..common.options import Batch, Device, Json, Quiet, Resize, Seed, SkipUnreadable, Threads, TrustEngine
from ..common.pictures import find_pictures
from ..common.reading import Depth, FloatRange, Layout, reading_of
from ..common.score_maps import MapOptions, write_maps
from ..common.score_words import Strangest, facts, summary, verdicts
from ..common.targets import check_target

if TYPE_CHECKING:
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.scoring.score import Scores
    from glow_deploy.scoring.sources import LabelChoice

_LABELS = "labels"
_NAMED = re.compile(r"([\w. -]{1,40})=(.+)", re.DOTALL)


def score(
    engine: Annotated[
        Path, typer.Argument(metavar="BUNDLE|ENCODER", help="A bundle, or an encoder: an ONNX file or a plan.")
    ],
    pictures: Annotated[
        list[Path] | None, typer.Argument(metavar="[IMAGE...]", help="Pictures, or folders of pictures.")
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            "--data",
            metavar="[NAME=]SPEC",
            help="Also a data set: a folder, an .npz, an IDX folder, [b]faces[/b], or [b]hf:OWNER/NAME[/b]. May be "
            "repeated: every later set is compared with the first.",
        ),
    ] = None,
    split: Annotated[Literal["train", "validation", "test"], typer.Option(help="Which images of --data.")] = "test",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="At most this many images of each --data and --reference.")
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            "--reference",
            metavar="SPEC|none",
            help="Held-out images of the training data, which typicality is measured against. Without it the golden "
            "images of BUNDLE, unless those are samples.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE.csv", help="One row a picture.")] = Path(
        "scores.csv"
    ),
    sort: Annotated[
        Literal["bits_per_dim", "typicality"] | None,
        typer.Option(help="Rows by this column, highest first; without it in the order of the pictures."),
    ] = None,
    histogram: Annotated[
        Path | None,
        typer.Option("--histogram", metavar="FILE.png|.svg", help="Draw the bits/dim of all sets over one axis."),
    ] = None,
    map_folder: Annotated[
        Path | None,
        typer.Option(
            "--map", metavar="DIR", help="Draw where in each picture the surprise is, and list the strange ones."
        ),
    ] = None,
    patch: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="--map: pixels of a patch's side; an eighth by default.")
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(metavar="P", help="--map: share of normal pictures called strange by mistake; 0.05 by default."),
    ] = None,
    save_threshold: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="--map: keep what was learnt of the reference.")
    ] = None,
    threshold: Annotated[
        Path | None, typer.Option(metavar="FILE.json", help="--map: use what an earlier run kept.")
    ] = None,
    draws: Annotated[
        int, typer.Option("--draws", metavar="N", min=1, help="Draws of dequantisation noise to average over.")
    ] = 8,
    seed: Seed = 0,
    classes: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="Y|best|labels",
            help="For class-conditional models: one for all, whichever makes each likeliest, or those of the sets.",
        ),
    ] = None,
    resize: Resize = False,
    skip_unreadable: SkipUnreadable = False,
    layout: Layout = None,
    float_range: FloatRange = None,
    depth: Depth = None,
    flavor: Flavor = "onnx",
    batch: Batch = 64,
    device: Device = "auto",
    threads: Threads = None,
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Measure how likely and how typical pictures are under the model, to find those that do not belong.

    Writes log-likelihood, bits/dim, the mean square of every level's latents, and typicality of each picture as CSV, in
    bounded memory. A Glow gives simpler pictures of another kind a higher likelihood than its own: to find foreign
    pictures look at the typicality, the distance of the bits/dim from their mean over held-out images.

    --map finds the place: it compares the latents, and the likelihood with each patch smoothed away, with those of
    held-out normal images.

    Data sets beyond one process: `glow-deploy bulk score`.
    """
    from glow_deploy.artifact.flavors import graph_backend
    from glow_deploy.artifact.identity import engine_model_id
    from glow_deploy.data import open_images
    from glow_deploy.engines.open import open_engine
    from glow_deploy.errors import UsageError
    from glow_deploy.latents.specs import need_role
    from glow_deploy.scoring.picture import write_histogram
    from glow_deploy.scoring.score import ScoreSettings
    from glow_deploy.scoring.sets import separate
    from glow_deploy.scoring.sources import (
        golden_source,
        measure_reference,
        picture_source,
        reference_source,
        score_source,
        set_source,
    )
    from glow_deploy.scoring.table import score_table

    output = Output(quiet=quiet, json=json)
    _check_targets(out, histogram)
    options = MapOptions(folder=map_folder, patch=patch, rate=rate, threshold=threshold, save=save_threshold)
    options.check(best_class=classes == BEST)
    label = _label(classes)
    reading = reading_of(layout=layout, float_range=float_range, depth=depth)
    settings = ScoreSettings(draws=draws, seed=seed, batch=batch, best_class=classes == BEST)
    if not pictures and not data:
        raise UsageError("there is nothing to score: name pictures or folders after the engine, or a set with --data")
    files, left = find_pictures(pictures or [])
    path, bundle = _encoder_file(engine, flavor)
    with (
        output.progress() as bars,
        open_engine(
            path, backend=graph_backend(flavor), device=device, threads=threads, trust_engine=trust_engine
        ) as encoder,
    ):
        need_role(encoder, "encoder", "scoring")
        shape = next(spec.shape for spec in encoder.inputs if spec.name == "x")
        sources = []
        if files:
            found = picture_source(
                files,
                shape=shape,
                resize=resize,
                skip_unreadable=skip_unreadable,
                reading=reading,
                label=label,
                progress=bars.counter("reading headers"),
            )
            sources.append(found)
        open_set = partial(
            open_images,
            size=(shape[1], shape[2]),
            channels=shape[0],
            resize=resize,
            skip_unreadable=skip_unreadable,
            reading=reading,
            decode=False,  # what cannot be decoded is left out when it is its turn
            progress=bars.stage,
        )
        for name, spec in _named_sets(data or [], taken=[source.name for source in sources]):
            images = open_set(spec).take(split, limit=limit)
            sources.append(set_source(images, name=name, skip_unreadable=skip_unreadable, label=label))
        held_out = None
        if reference is None:
            held_out = None if bundle is None else golden_source(bundle, label=label)
        elif reference != "none":
            held_out = reference_source(
                reference,
                shape=shape,
                resize=resize,
                limit=limit,
                skip_unreadable=skip_unreadable,
                reading=reading,
                label=label,
                progress=bars.stage,
            )
        if sort == "typicality" and held_out is None:
            raise UsageError("--sort typicality needs --reference SPEC: held-out images of the training data")
        known = None
        if held_out is not None:
            count = bars.counter("scoring the reference")
            known = measure_reference(encoder, held_out, settings=settings, progress=count)
        strangest = Strangest(known)
        sets = []
        with score_table(out, reference=known, sort=sort) as table:
            for source in sources:

                def take(scores: Scores, name: str = source.name) -> None:
                    table.add(scores, name=name)
                    if name == sources[0].name:
                        strangest.add(scores)

                count = bars.counter(f"scoring {source.name}")
                sets.append(score_source(encoder, source, settings=settings, take=take, progress=count))
        details = encoder.details
        maps = None
        if options.folder is not None:
            model_id = engine_model_id(path)
            maps = write_maps(encoder, sources, held_out, options, model_id=model_id, batch=batch, bars=bars)
    separations = [separate(sets[0], foreign, known) for foreign in sets[1:]]
    if histogram is not None:
        write_histogram(histogram, sets, reference=known)
    used = sources if held_out is None else [*sources, held_out]
    skipped = list(dict.fromkeys(left for source in used for left in source.skipped))
    listed = left_out_file(out)
    if skip_unreadable:
        write_left_out(listed, skipped)
    notes = tuple(dict.fromkeys((*left, *(note for source in used for note in source.notes))))
    output.write_json(
        {
            "out": out,
            "backend": details.backend,
            "device": details.device,
            "draws": draws,
            "seed": seed,
            **facts(sets, known, separations),
            "skipped": [left.reason for left in skipped],
            "notes": notes,
            "maps": None if maps is None else maps.facts(options),
        },
        schema="score",
    )
    for note in notes:
        output.say(f"note: {note}")
    output.say(f"scored on {details.backend} ({details.provider}, {details.device}), {draws} draws of noise a picture")
    output.show(summary(sets, known))
    for line in (*verdicts(sets, known, separations), *strangest.lines(sources[0].name)):
        output.say(line)
    for line in left_out_lines(skipped, listed):
        output.say(line)
    for line in () if maps is None else maps.lines(options):
        output.say(line)
    output.say(f"wrote {out}" + ("" if histogram is None else f" and {histogram}"))


def _check_targets(out: Path, histogram: Path | None) -> None:
    """Refuse places that cannot be written before the work whose result would be lost.

    Raises:
        UsageError: a folder, a folder that is not there or read-only, or a suffix of another kind.
    """
    from glow_deploy.errors import UsageError

    if out.suffix.lower() != ".csv":
        raise UsageError(f"--out {out}: scores are written as CSV; name a .csv file")
    if histogram is not None:
        import matplotlib  # noqa: F401  # now, and not after an hour of scoring

        if histogram.suffix.lower() not in (".png", ".svg"):
            raise UsageError(f"--histogram {histogram}: name a .png or .svg file")
    for path in (out, *([] if histogram is None else [histogram])):
        check_target(path)


def _label(classes: str | None) -> LabelChoice:
    from glow_deploy.errors import UsageError

    if classes == _LABELS:
        return "own"
    numbers = None if classes == BEST else parse_classes(classes, words=(BEST, _LABELS))
    if numbers is not None and len(numbers) != 1:
        raise UsageError(f"--class names {len(numbers)} classes; give one for all, {BEST} or {_LABELS}")
    return None if numbers is None else numbers[0]


def _encoder_file(engine: Path, flavor: FlavorName) -> tuple[Path, Bundle | None]:
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.engines.pair import engine_file

    return engine_file(engine, role="encoder", flavor=flavor), Bundle.open(engine) if engine.is_dir() else None


def _named_sets(specs: Sequence[str], *, taken: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Name and source of each --data."""
    from glow_deploy.errors import UsageError

    names = {"pictures", *taken}
    for given in specs:
        match = None if Path(given).exists() else _NAMED.fullmatch(given)
        name, spec = match.groups() if match else (Path(given).stem or given, given)
        if name in names:
            raise UsageError(f"two sets are called {name}; give each a name of its own: --data NAME={spec}")
        names.add(name)
        yield name, spec

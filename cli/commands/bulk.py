"""`glow-deploy bulk`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..common.classes import BEST, parse_classes
from ..common.console import Output
from ..common.counting import counted
from ..common.engines import Flavor
from ..common.left_out import left_out_file, left_out_lines, write_left_out
from ..common.numbers import parse_attributes, parse_temperatures
from ..common.options import Batch, Device, Json, Quiet, Resize, Seed, SkipUnreadable, TrustEngine

if TYPE_CHECKING:
    from glow_deploy.bulk import BulkResult

_ALL = "all"
_CLUSTER = "Where the work is done"
_SHARDS = "Shards in, shards out"


def bulk(
    action: Annotated[
        Literal["encode", "score", "sample", "edit"],
        typer.Argument(metavar="encode|score|sample|edit", help="What is done with every row."),
    ],
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE|ENGINE", help="A bundle; or the engine that the action needs.")
    ],
    inputs: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[INPUT...]",
            help="Folders of pictures, .parquet files with a column of pictures, WebDataset .tar shards, or folders of "
            "such shards. None for sample.",
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="For the shards, index.jsonl and plan.json.")
    ] = Path("bulk-out"),
    format_: Annotated[
        Literal["parquet", "npz"],
        typer.Option("--format", help="Of the shards written.", rich_help_panel=_SHARDS),
    ] = "parquet",
    shard_rows: Annotated[
        int | None,
        typer.Option(
            "--shard-rows",
            metavar="N",
            min=1,
            help="Rows of each; without it up to 4096, and no more than 256 MiB.",
            rich_help_panel=_SHARDS,
        ),
    ] = None,
    column: Annotated[
        str | None,
        typer.Option(
            "--column",
            metavar="NAME",
            help="Of pictures in Parquet files; without it the only one of bytes.",
            rich_help_panel=_SHARDS,
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Compare the sha256 of every shard of an earlier run, not its size alone.",
            rich_help_panel=_SHARDS,
        ),
    ] = False,
    engine: Annotated[
        Literal["local", "ray"],
        typer.Option("--engine", help="This process, or workers of a Ray cluster.", rich_help_panel=_CLUSTER),
    ] = "local",
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            min=1,
            help="ray: processes; without it as many as there is room for.",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            metavar="HOST:PORT|auto",
            help="ray: of a cluster that runs; without it RAY_ADDRESS, or a cluster on this machine for this run.",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads",
            metavar="N",
            min=1,
            help="CPU threads of each worker; without it 1 on Ray, and all cores locally.",
            rich_help_panel=_CLUSTER,
        ),
    ] = None,
    count: Annotated[int | None, typer.Option("--count", "-n", metavar="N", min=1, help="sample: how many.")] = None,
    temperature: Annotated[
        str,
        typer.Option(
            "--temperature", "-t", metavar="X[,X...]", help="sample: of every latent; or one a level, z1 first."
        ),
    ] = "0.7",
    draws: Annotated[
        int,
        typer.Option(
            "--draws",
            metavar="N",
            min=0,
            help="encode, score: draws of dequantisation noise that bits/dim is averaged over. Each is one more run.",
        ),
    ] = 8,
    directions: Annotated[
        Path | None, typer.Option("--directions", metavar="FILE.npz", help="edit: as `directions` writes it.")
    ] = None,
    attributes: Annotated[
        list[str] | None,
        typer.Option(
            "--attribute", "-a", metavar="NAME[=AMOUNT]", help="edit: what to add, or with a minus to remove."
        ),
    ] = None,
    beyond: Annotated[bool, typer.Option("--beyond", help="edit: go beyond the measured ranges.")] = False,
    seed: Seed = 0,
    classes: Annotated[
        str | None,
        typer.Option(
            "--class",
            metavar="Y[,Y...]|best|all",
            help="For class-conditional models: one for all pictures, or whichever makes each likeliest. sample: taken "
            "in turn.",
        ),
    ] = None,
    resize: Resize = False,
    skip_unreadable: SkipUnreadable = False,
    flavor: Flavor = "onnx",
    batch: Batch = 64,
    device: Device = "auto",
    trust_engine: TrustEngine = False,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Encode, score, sample or edit data sets that no single process holds, into shards with an index.

    A run that was stopped goes on when it is started again: shards that index.jsonl lists are not made again. The
    shards are the same however many workers make them. Ray and Parquet need the extra `ray`.
    """
    from glow_deploy.bulk import BulkSettings, Where, run_bulk

    output = Output(quiet=quiet, json=json)
    own = parse_temperatures(temperature, "--temperature")
    settings = BulkSettings(
        draws=draws,
        seed=seed,
        batch=batch,
        labels=_labels(classes, bundle, action, flavor),
        best_class=classes == BEST,
        count=count,
        temperature=own if len(own) > 1 else own[0],
        attributes=parse_attributes(attributes or []),
        beyond=beyond,
        resize=resize,
        skip_unreadable=skip_unreadable,
        column=column,
        format=format_,
        shard_rows=shard_rows,
    )
    where = Where(
        engine=engine,
        workers=workers,
        address=address,
        threads=threads,
        device=device,
        flavor=flavor,
        trust_engine=trust_engine,
    )
    with output.progress() as bars:
        done = run_bulk(
            action,
            bundle,
            inputs or [],
            out=out,
            directions=directions,
            settings=settings,
            where=where,
            check=check,
            progress=bars.stage,
        )
    listed = left_out_file(out, folder=True)
    write_left_out(listed, done.skipped)
    output.write_json(
        {
            "out": out,
            "action": action,
            "engine": engine,
            "workers": done.workers,
            "backends": done.backends,
            "shards": done.shards,
            "rows": done.rows,
            "bytes": done.bytes,
            "resumed_shards": done.resumed,
            "remade_shards": done.lost,
            "rows_made": done.made,
            "seconds": done.seconds,
            "bits_per_dim": done.bits_per_dim,
            "nonfinite": done.nonfinite,
            "redrawn": done.redrawn,
            "skipped": len(done.skipped),
        },
        schema="bulk",
    )
    for line in _lines(done):
        output.say(line)
    for line in left_out_lines(done.skipped, listed):
        output.say(line)
    output.say(f"wrote {out}/")


def _lines(done: BulkResult) -> list[str]:
    lines = []
    if done.resumed:
        lines.append(f"{counted(done.resumed, 'shard')} of an earlier run stayed as they were")
    if done.lost:
        shown = ", ".join(done.lost[:4]) + (", ..." if len(done.lost) > 4 else "")
        lines.append(f"made again, because gone or damaged: {counted(len(done.lost), 'shard')} ({shown})")
    if done.made:
        pace = f"{done.made / done.seconds:,.1f} a second"
        lines.append(f"{counted(done.made, 'row')} in {done.seconds:.1f} s, {pace}, {counted(done.workers, 'worker')}")
    lines.append(
        f"{counted(done.rows, 'row')} in {counted(done.shards, 'shard')}, {done.bytes:,} bytes, on "
        f"{', '.join(done.backends)}"
    )
    if done.bits_per_dim is not None:
        lines.append(f"mean: {done.bits_per_dim:.4f} bits/dim")
    if done.nonfinite:
        lines.append(f"without a finite likelihood: {counted(done.nonfinite, 'row')}")
    if done.redrawn:
        lines.append(f"{'scaled back' if done.action == 'edit' else 'drawn again'}: {done.redrawn:,}")
    return lines


def _labels(classes: str | None, bundle: Path, action: str, flavor: str) -> tuple[int, ...] | None:
    """The classes that were named; `all` are those of the model."""
    if classes is None or classes == BEST:
        return None
    if classes != _ALL or action != "sample":
        return parse_classes(classes, words=(_ALL,) if action == "sample" else (BEST,))
    from glow_deploy.artifact.identity import engine_facts
    from glow_deploy.engines.pair import engine_file
    from glow_deploy.errors import UsageError

    facts = engine_facts(engine_file(bundle, role="decoder", flavor=flavor))
    if facts is None:
        raise UsageError("the plan does not tell its classes, as it has no sidecar; name them: --class 0,1,2")
    if facts.num_classes is None:
        raise UsageError("this model is not class-conditional: leave --class out")
    return tuple(range(facts.num_classes))

"""`glow-deploy inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..common.console import Output
from ..common.options import Json, Quiet

if TYPE_CHECKING:
    from glow_core.errors import MissingFactError
    from glow_deploy.inspect import Inspection


def inspect(
    file: Annotated[Path, typer.Argument(help="A checkpoint, bundle, ONNX file, TensorRT plan or .npz archive.")],
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Show what a file is and what is in it, without running it.

    The kind is told by the content, not by the name.
    """
    from glow_deploy.inspect import inspect_file, recognise

    output = Output(quiet=quiet, json=json)
    checkpoint = recognise(file) in ("torch", "safetensors")
    found = inspect_checkpoint(file) if checkpoint else inspect_file(file)
    output.write_json({"kind": found.kind, "path": found.path, **found.facts, **found.tables})
    show(found, output)


def show(found: Inspection, output: Output) -> None:
    """Print an inspection for people."""
    from rich.table import Table
    from rich.text import Text

    output.say(f"{found.path}: {found.kind}")
    width = max(len(name) for name in found.facts)
    for name, value in found.facts.items():
        output.say(f"  {name.replace('_', ' '):<{width}}  {_words(value) or '-'}")
    for title, rows in found.tables.items():
        if not rows:
            continue
        table = Table(title=title, title_justify="left", box=None, pad_edge=False)
        for column in rows[0]:
            numbers = all(isinstance(row[column], int) for row in rows)
            table.add_column(column, justify="right" if numbers else "left")
        for row in rows:
            table.add_row(*(Text(_words(cell)) for cell in row.values()))  # Text: brackets are no markup here
        output.say("")
        output.show(table)


def _words(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def inspect_checkpoint(path: Path) -> Inspection:
    """Describe a checkpoint, read as `export` reads it: without running code, every tensor checked.

    Raises:
        CheckpointError: (of glow_core) not a checkpoint, damaged, or its tensors do not fit its config.
    """
    from glow_core import read_checkpoint
    from glow_core.errors import MissingFactError
    from glow_deploy.artifact.files import sha256_file
    from glow_deploy.inspect import Inspection
    from glow_deploy.inspect.bundle import as_options

    try:
        checkpoint = read_checkpoint(path)
    except MissingFactError as error:
        return _unsaid(path, error)
    config, origin = checkpoint.config, checkpoint.origin
    values: dict[str, int] = {}
    for name, tensor in checkpoint.model.items():
        group = ".".join(name.split(".")[:2])
        values[group] = values.get(group, 0) + tensor.numel()
    facts: dict[str, object] = {
        **({} if origin is None else {"converted_from" if origin.converted else "written_by": origin.project}),
        **({"source_options": as_options(origin.options)} if origin is not None and origin.converted else {}),
        "size": path.stat().st_size,
        "sha256": sha256_file(path),
        **config.to_dict(),
        "image_size": "{}x{}".format(*config.image_size),
        "dims": config.dims,
        "parameters": sum(values.values()),
        "averaged_weights": checkpoint.ema is not None,
        "training_state": checkpoint.training is not None,
        "validation_images": 0 if checkpoint.images is None else len(checkpoint.images),
    }
    if checkpoint.training is not None:
        facts |= {name: checkpoint.training[name] for name in ("step", "epoch") if name in checkpoint.training}
    tables: dict[str, list[dict[str, object]]] = {
        "Latents": [
            {"latent": f"z{level}", "shape (C, H, W)": str(shape)}
            for level, shape in enumerate(config.latent_shapes, start=1)
        ],
        "Parameters": [{"part": group, "values": count} for group, count in values.items()],
    }
    if origin is not None:
        tables["Taken for granted"] = [{"note": note} for note in origin.notes]
    return Inspection(kind="checkpoint", path=str(path), facts=facts, tables=tables)


def _unsaid(path: Path, error: MissingFactError) -> Inspection:
    """What can be told of another project's checkpoint that leaves out a fact which reading it takes."""
    from glow_core.readers import read_tensors, reader_of
    from glow_deploy.artifact.files import sha256_file
    from glow_deploy.inspect import Inspection

    tensors = read_tensors(path)
    reader = reader_of(tensors)
    facts: dict[str, object] = {
        "written_by": None if reader is None else reader.project,
        "size": path.stat().st_size,
        "sha256": sha256_file(path),
        "tensors": len(tensors),
        "values": sum(tensor.numel() for tensor in tensors.values()),
        "not_said": error.what,
        "to_export_it": f"glow-deploy export {path} with {error.option}",
    }
    rows: list[dict[str, object]] = [
        {"tensor": name, "shape": str(tuple(tensor.shape)), "dtype": str(tensor.dtype).removeprefix("torch.")}
        for name, tensor in tensors.items()
    ]
    return Inspection(kind="checkpoint", path=str(path), facts=facts, tables={"Tensors": rows})

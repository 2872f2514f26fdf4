"""`glow-deploy inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..common.console import Output
from ..common.options import CertificateRoot, Identity, Issuer, Json, PublicKey, Quiet

if TYPE_CHECKING:
    from glow_core.errors import MissingFactError
    from glow_deploy.inspect import Inspection


def inspect(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A checkpoint, bundle, ONNX file, TensorRT plan or .npz archive.")
    ],
    public_key: PublicKey = None,
    certificate_root: CertificateRoot = None,
    identity: Identity = None,
    issuer: Issuer = None,
    json: Json = None,
    quiet: Quiet = False,
) -> None:
    """Show what a file is and what is in it, without running it.

    The kind is told by the content, not by the name. Of a bundle it also says whether the checksums match and whether
    it is signed; the signature is checked where you name whose it must be.
    """
    from glow_deploy.errors import UsageError
    from glow_deploy.inspect import inspect_file, recognise

    output = Output(quiet=quiet, json=json)
    checkpoint = recognise(file) in ("torch", "safetensors")
    if checkpoint and any((public_key, certificate_root, identity, issuer)):
        raise UsageError(f"{file} is a checkpoint, and only bundles are signed; name the bundle, or give no key")
    found = (
        inspect_checkpoint(file)
        if checkpoint
        else inspect_file(
            file, public_key=public_key, certificate_root=certificate_root, identity=identity, issuer=issuer
        )
    )
    output.write_json({"kind": found.kind, "path": found.path, **found.facts, **found.tables}, schema="inspect")
    show(found, output)


def show(found: Inspection, output: Output) -> None:
    """Print an inspection for people."""
    from rich.table import Table
    from rich.text import Text

    output.say(f"{found.path}: {found.kind}")
    width = max(len(name) for name in found.facts)
    for name, value in found.facts.items():
        output.say(f"  {name.replace('_', ' '):<{width}}  {_words(value, name)}")
    if found.facts.get("matches_sidecar") is False:
        output.say("  WARNING: the plan DIFFERS from the one its sidecar describes: it was changed or damaged")
    if found.facts.get("signature_state") in ("stale", "damaged"):
        output.say("  WARNING: the signature does not cover the bundle as it is: get it again, or sign it again")
    for row in found.tables.get("files", ()):
        if row["state"] != "ok":
            output.say(f"  WARNING: {row['file']}: {row['state']}")
    for title, rows in found.tables.items():
        if not rows:
            continue
        table = Table(title=title.replace("_", " ").capitalize(), title_justify="left", box=None, pad_edge=False)
        for column in rows[0]:
            numbers = all(isinstance(row[column], int) for row in rows)
            table.add_column(column.replace("_", " "), justify="right" if numbers else "left")
        for row in rows:
            table.add_row(*(Text(_words(cell)) for cell in row.values()))  # Text: brackets are no markup here
        output.say("")
        output.show(table)


def _words(value: object, name: str = "") -> str:
    """A value as a person reads it: sizes as 16x16, nothing as a dash."""
    if value is None or value == {}:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        if name == "image_size":
            return "x".join(map(str, value))
        return ", ".join(map(str, value)) if name else f"[{', '.join(map(str, value))}]"
    if isinstance(value, dict):
        parts = ((key, item) for key, item in value.items() if item is not None)
        return ", ".join(f"{key} {_words(item, str(key))}" for key, item in parts)
    from glow_deploy.printable import one_line

    return f"{value:,}" if isinstance(value, int) else one_line(value)


def inspect_checkpoint(path: Path) -> Inspection:
    """Describe a checkpoint, read as `export` reads it: without running code, every tensor checked.

    Raises:
        CheckpointError: (of glow_core) not a checkpoint, damaged, or its tensors do not fit its config.
    """
    from glow_core import read_checkpoint
    from glow_core.errors import MissingFactError
    from glow_deploy.artifact.files import sha256_file
    from glow_deploy.inspect import Inspection

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
        **({"source_options": dict(origin.options)} if origin is not None and origin.converted else {}),
        "size": path.stat().st_size,
        "sha256": sha256_file(path),
        **config.to_dict(),
        "image_size": list(config.image_size),
        "dims": config.dims,
        "parameters": sum(values.values()),
        "averaged_weights": checkpoint.ema is not None,
        "training_state": checkpoint.training is not None,
        "validation_images": 0 if checkpoint.images is None else len(checkpoint.images),
    }
    if checkpoint.training is not None:
        facts |= {name: checkpoint.training[name] for name in ("step", "epoch") if name in checkpoint.training}
    tables: dict[str, list[dict[str, object]]] = {
        "latents": [
            {"latent": f"z{level}", "shape": list(shape)} for level, shape in enumerate(config.latent_shapes, start=1)
        ],
        "parts": [{"part": group, "values": count} for group, count in values.items()],
    }
    if origin is not None:
        tables["taken_for_granted"] = [{"note": note} for note in origin.notes]
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
        "to_export_it": f"glow-deploy export {path} {error.option.replace(' and ', ' ')}",
    }
    rows: list[dict[str, object]] = [
        {"tensor": name, "shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
        for name, tensor in tensors.items()
    ]
    return Inspection(kind="checkpoint", path=str(path), facts=facts, tables={"tensor_list": rows})

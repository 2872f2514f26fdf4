"""What a file is and what is in it, told from its content alone. Nothing in the file is run."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from glow_deploy.artifact.files import check_regular, sha256_bytes, sha256_file
from glow_deploy.artifact.manifest import MANIFEST
from glow_deploy.artifact.plan_header import MAGICS
from glow_deploy.errors import BundleError, DataError, UsageError
from glow_deploy.signing import Trust

from .bundle import inspect_bundle
from .inspection import Inspection
from .plan import inspect_plan

__all__ = ["recognise", "run_inspect"]

_LEVEL = re.compile(r"(level\d+|prior)/")


def recognise(path: Path) -> str:
    """Tell what kind of file this is from its first bytes.

    Returns:
        `bundle`, `plan`, `safetensors`, `npz`, `torch` or, for anything else, `onnx` (which has no magic number).

    Raises:
        DataError: the file is missing, empty or cannot be read, or the folder is no bundle.
    """
    path = Path(path)
    if path.is_dir():
        if (path / MANIFEST).exists():
            return "bundle"
        raise DataError(f"{path} is a folder without a {MANIFEST}; name a bundle, or a file in the folder")
    check_regular(path, error=DataError)
    try:
        with path.open("rb") as handle:
            start = handle.read(16)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    if not start:
        raise DataError(f"{path} is empty")
    if start[:4] in MAGICS:
        return "plan"
    if start[:2] == b"PK":
        return "npz" if _is_npz(path) else "torch"
    if start[8:9] == b"{":
        return "safetensors"
    if start[:1] == b"\x80":
        return "torch"  # a bare pickle, which the checkpoint reader refuses to run
    return "onnx"


def run_inspect(path: Path, *, trust: Trust | None = None) -> Inspection:
    """Do what `inspect_file` says."""
    kind = recognise(path)
    if kind == "bundle":
        return inspect_bundle(path, trust=trust)
    if trust is not None:
        raise UsageError(f"{path} is no bundle, and only bundles are signed; name the bundle, or give no key")
    if kind == "plan":
        return inspect_plan(path)
    if kind == "npz":
        return _inspect_npz(path)
    if kind == "onnx":
        return _inspect_onnx(path)
    raise DataError(f"{path} is a checkpoint; read it with glow_core.read_checkpoint")


def _inspect_onnx(path: Path) -> Inspection:
    """Describe an ONNX graph of any origin; what only our graphs have is left out for others.

    Raises:
        BundleError: not an ONNX file, damaged, or larger than 2 GiB.
    """
    from glow_deploy.artifact.files import read_regular
    from glow_deploy.artifact.limits import SIZE_LIMIT
    from glow_deploy.artifact.lint import check_text, check_weights, load_model, type_name

    data = read_regular(path, most=SIZE_LIMIT, error=BundleError)
    try:
        model = load_model(data, source=str(path), foreign=True)
    except BundleError as error:
        raise BundleError(_unknown(path, data, _reason(error, path))) from error
    graph = model.graph
    check_text(model, source=str(path))
    check_weights(model, source=str(path))
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    types = Counter[str]()
    for tensor in graph.initializer:
        types[type_name(tensor.data_type).lower()] += math.prod(tensor.dims)
    own = _own_graph(model, metadata, str(path))
    facts: dict[str, object] = {
        "size": len(data),
        "sha256": sha256_bytes(data),
        "opset": max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=None),
        "ir_version": model.ir_version,
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        **own,
        "parameters": sum(types.values()),
        "parameter_types": dict(types.most_common()),
        **_flops(model, own),
        "nodes": len(graph.node),
    }
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    tables = {
        "signature": [
            _signature(value, way) for way, values in (("in", inputs), ("out", graph.output)) for value in values
        ],
        "nodes_per_level": _nodes_per_level(graph),
    }
    return Inspection(kind="onnx", path=str(path), facts=facts, tables=tables)


def _own_graph(model: Any, metadata: dict[str, str], source: str) -> dict[str, object]:
    """Whether the graph is one that this tool runs, and what its metadata says."""
    from glow_deploy.artifact.lint import lint_model
    from glow_deploy.artifact.metadata import GraphMetadata

    try:
        facts = GraphMetadata.from_props(metadata, source=source)
        lint_model(model, source=source)
    except BundleError as error:
        foreign = {"metadata": dict(sorted(metadata.items()))} if metadata else {}
        return {"ours": False, "not_ours": _reason(error, source), **foreign}
    return {"ours": True, **asdict(facts)}


def _flops(model: Any, own: dict[str, object]) -> dict[str, object]:
    """The arithmetic of a graph of ours; the sizes inside others are not worked out, for they may be anything."""
    from .flops import flops_per_image

    if own["ours"]:
        return {"flops_per_image": flops_per_image(model)}
    return {"flops_per_image": None, "flops_unknown": "they are counted in graphs of this tool alone"}


def _signature(value: Any, way: str) -> dict[str, object]:
    from glow_deploy.artifact.lint import type_name

    tensor = value.type.tensor_type
    dims = [dim.dim_param or str(dim.dim_value or "?") for dim in tensor.shape.dim]
    return {
        "way": way,
        "name": value.name,
        "type": type_name(tensor.elem_type).lower() if tensor.elem_type else "?",
        "shape": [int(dim) if dim.isascii() and dim.isdecimal() and len(dim) <= 19 else dim for dim in dims],
    }


def _nodes_per_level(graph: Any) -> list[dict[str, object]]:
    """Count nodes by level; a node belongs where its name, its weights or its results are named."""
    levels: dict[str, Counter[str]] = {}
    for node in graph.node:
        names = (node.name, *node.input, *node.output)
        place = next((match.group(1) for name in names if (match := _LEVEL.match(name))), "elsewhere")
        levels.setdefault(place, Counter())[node.op_type] += 1
    return [
        {
            "level": place,
            "nodes": sum(counts.values()),
            "convolutions": counts["Conv"],
            "others": {name: count for name, count in sorted(counts.items()) if name != "Conv"},
        }
        for place, counts in sorted(levels.items())
    ]


def _inspect_npz(path: Path) -> Inspection:
    from glow_deploy.artifact.npz import NpzArchive

    with NpzArchive(path) as archive:
        rows = [
            {"array": name, "type": str(entry.dtype), "shape": list(entry.shape)}
            for name, entry in archive.entries.items()
        ]
        names = set(archive.entries)
    content = "arrays"
    if {"z1", "log_prob"} <= names:
        content = "golden vectors" if {"x", "x_hat"} <= names else "latents"
    elif "images" in names:
        content = "data set"
    facts = {"content": content, "size": path.stat().st_size, "sha256": sha256_file(path)}
    return Inspection(kind="npz", path=str(path), facts=facts, tables={"arrays": rows})


def _is_npz(path: Path) -> bool:
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile, ValueError, NotImplementedError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def _unknown(path: Path, data: bytes, reason: str) -> str:
    """Say of which of our files a JSON file is a part, or that the file is of no kind known here."""
    try:
        content = json.loads(data)
    except (ValueError, RecursionError):
        content = None
    names = set(content) if isinstance(content, dict) else set()
    if {"format_version", "files"} <= names:
        return f"{path} is the manifest of a bundle: inspect the folder, {path.parent}"
    if {"sha256", "flavor"} <= names:
        return f"{path} is the sidecar of a plan: inspect the plan, {path.with_suffix('')}"
    if "schema" in names:
        return f"{path} is what a command wrote with --json: a report to read, not a file to inspect"
    return f"{path} is nothing glow-deploy knows: no bundle, checkpoint, ONNX graph, plan or .npz file ({reason})"


def _reason(error: BundleError, path: str | Path) -> str:
    return str(error).removeprefix(f"{path}: ")

"""Describing a TensorRT plan from its header and sidecar; it is never deserialised, so none of its code runs."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from glow_deploy.artifact.files import read_regular, sha256_file
from glow_deploy.artifact.metadata import GraphMetadata
from glow_deploy.artifact.plan_header import read_header
from glow_deploy.artifact.sidecar import Sidecar, read_sidecar, sidecar_path
from glow_deploy.errors import BundleError

from .inspection import Inspection

__all__ = ["inspect_plan"]

_MOST_PLAN = 16 << 30  # bytes; it holds the weights once


def inspect_plan(path: Path) -> Inspection:
    """Describe a plan of either flavour. A damaged sidecar is an error, a missing one is a fact.

    Raises:
        BundleError: cut short, or the sidecar cannot be read.
    """
    header = read_header(read_regular(path, most=_MOST_PLAN, error=BundleError), source=str(path))
    digest = sha256_file(path)
    sidecar = read_sidecar(path)
    facts: dict[str, object] = {
        "size": path.stat().st_size,
        "sha256": digest,
        "flavor": {"tensorrt": "TensorRT", "rtx": "TensorRT for RTX"}[header.flavor],
        "tensorrt_version": header.version,
        "targets": None if header.targets is None else list(header.targets),
        "sidecar": None if sidecar is None else sidecar_path(path).name,
    }
    tables = {}
    if sidecar is not None:
        facts |= _sidecar_facts(sidecar, digest, sidecar_path(path).name)
        tables["signature"] = [
            {"way": way, "name": spec.name, "type": spec.dtype, "shape": ["batch", *spec.shape]}
            for way, specs in (("in", sidecar.inputs), ("out", sidecar.outputs))
            for spec in specs
        ]
    return Inspection(kind="plan", path=str(path), facts=facts, tables=tables)


def _sidecar_facts(sidecar: Sidecar, digest: str, source: str) -> dict[str, object]:
    return {
        "matches_sidecar": sidecar.sha256 == digest,
        "onnx_sha256": sidecar.onnx_sha256,
        "tf32": sidecar.tf32,
        "batches": dict(zip(("min", "opt", "max"), sidecar.profile, strict=True)),
        "gpus": list(sidecar.gpus),
        "version_compatible": sidecar.version_compatible,
        "hardware_compatible": sidecar.hardware_compatible,
        **asdict(GraphMetadata.from_props(sidecar.metadata, source=source)),
    }

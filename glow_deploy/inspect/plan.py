"""Describing a TensorRT plan from its header and sidecar; it is never deserialised, so none of its code runs."""

from __future__ import annotations

from pathlib import Path

from glow_deploy.artifact.files import sha256_file
from glow_deploy.artifact.plan_header import read_header
from glow_deploy.artifact.sidecar import Sidecar, read_sidecar, sidecar_path

from .inspection import Inspection

__all__ = ["inspect_plan"]


def inspect_plan(path: Path) -> Inspection:
    """Describe a plan of either flavour. A damaged sidecar is an error, a missing one is a fact.

    Raises:
        BundleError: cut short, or the sidecar cannot be read.
    """
    header = read_header(path.read_bytes(), source=str(path))
    digest = sha256_file(path)
    sidecar = read_sidecar(path)
    facts: dict[str, object] = {
        "size": path.stat().st_size,
        "sha256": digest,
        "flavor": {"tensorrt": "TensorRT", "rtx": "TensorRT for RTX"}[header.flavor],
        "tensorrt_version": header.version,
        "targets": "not in the header" if header.targets is None else ", ".join(header.targets),
        "sidecar": "none: it runs only with --trust-engine" if sidecar is None else sidecar_path(path).name,
    }
    tables = {}
    if sidecar is not None:
        facts |= _sidecar_facts(sidecar, digest)
        tables["Signature"] = [
            {"way": way, "name": spec.name, "type": spec.dtype, "shape": str(["batch", *spec.shape]).replace("'", "")}
            for way, specs in (("in", sidecar.inputs), ("out", sidecar.outputs))
            for spec in specs
        ]
    return Inspection(kind="plan", path=str(path), facts=facts, tables=tables)


def _sidecar_facts(sidecar: Sidecar, digest: str) -> dict[str, object]:
    matches = sidecar.sha256 == digest
    return {
        "checksum": "matches the sidecar" if matches else "DIFFERS from the sidecar: the plan was changed or damaged",
        "onnx_sha256": sidecar.onnx_sha256,
        "tf32": "allowed" if sidecar.tf32 else "off",
        "batches": "min {}, opt {}, max {}".format(*sidecar.profile),
        "gpus": ", ".join(sidecar.gpus),
        "version_compatible": sidecar.version_compatible,
        "hardware_compatible": sidecar.hardware_compatible,
        **{key.removeprefix("glow_deploy."): value for key, value in sorted(sidecar.metadata.items())},
    }

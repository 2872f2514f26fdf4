"""Describing a bundle: its manifest, and whether every file still is what was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from .bundle import Bundle
from .engines.sidecar import read_sidecar
from .errors import BundleError
from .files import sha256_file
from .inspect import Inspection

__all__ = ["inspect_bundle"]


def inspect_bundle(path: Path) -> Inspection:
    """Describe a bundle. Files that are missing or changed are facts here, a damaged manifest is an error.

    Raises:
        BundleError: the manifest is damaged or of another format version.
    """
    manifest = Bundle.open(path).manifest
    facts: dict[str, object] = {
        "format_version": manifest.format_version,
        "precision": manifest.precision,
        "weights": manifest.weights,
        "golden_vectors": manifest.golden_source or "none",
        "model": _flat(manifest.model),
        "model_id": manifest.model_id,
        "versions": _flat(manifest.versions),
    }
    files = [_listed(path, name, digest) for name, digest in manifest.files.items()]
    tables = {"Files": [*files, *_plans(path)]}
    return Inspection(kind="bundle", path=str(path), facts=facts, tables=tables)


def _listed(folder: Path, name: str, digest: str) -> dict[str, object]:
    path = folder / name
    if not path.is_file():
        return {"file": name, "size": None, "sha256": digest[:16], "state": "MISSING"}
    same = sha256_file(path) == digest
    return {"file": name, "size": path.stat().st_size, "sha256": digest[:16], "state": "ok" if same else "CHANGED"}


def _plans(folder: Path) -> Iterator[dict[str, object]]:
    """Every plan beside the manifest, with what its sidecar says about it."""
    for path in sorted(folder.glob("*.trt")):
        digest = sha256_file(path)
        try:
            sidecar = read_sidecar(path)
        except BundleError as error:
            state = f"sidecar damaged: {error}"
        else:
            state = "no sidecar" if sidecar is None else "ok" if sidecar.sha256 == digest else "CHANGED"
        yield {"file": path.name, "size": path.stat().st_size, "sha256": digest[:16], "state": state}


def _flat(values: object) -> str:
    if not isinstance(values, dict):
        return str(values)
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)

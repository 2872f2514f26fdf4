"""Describing a bundle: its manifest, and whether every file still is what was written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.files import sha256_file
from glow_deploy.artifact.manifest import Manifest
from glow_deploy.artifact.sidecar import read_sidecar
from glow_deploy.errors import BundleError
from glow_deploy.signing import Trust

from .inspection import Inspection
from .signature import inspect_signature

__all__ = ["inspect_bundle"]


def inspect_bundle(path: Path, *, trust: Trust | None = None) -> Inspection:
    """Describe a bundle. Files that are missing or changed are facts here, a damaged manifest is an error.

    So is a signature that is missing or wrong, where it is said whose it must be; else it is a fact like the others.

    Raises:
        BundleError: the manifest is damaged or of another format version.
        SignatureError: the bundle is not as one who is trusted signed it.
    """
    manifest = Bundle.open(path).manifest
    files = [*(_listed(path, name, digest) for name, digest in manifest.files.items()), *_plans(path)]
    facts: dict[str, object] = {
        **inspect_signature(path, checksums_match=all(row["state"] == "ok" for row in files), trust=trust),
        "format_version": manifest.format_version,
        "precision": manifest.precision,
        "weights": manifest.weights,
        "golden_vectors": manifest.golden_source,
        "model": dict(manifest.model),
        "model_id": manifest.model_id,
        **_source(manifest),
        "versions": dict(manifest.versions),
    }
    tables: dict[str, list[dict[str, object]]] = {
        "files": files,
        "notes": [{"note": note} for note in manifest.numerics.notes],
    }
    return Inspection(kind="bundle", path=str(path), facts=facts, tables=tables)


def _source(manifest: Manifest) -> dict[str, object]:
    """Whose checkpoint the bundle was made of, if not this tool's own."""
    if manifest.source is None:
        return {}
    return {"source": manifest.source["project"], "source_options": dict(manifest.import_options)}


def _listed(folder: Path, name: str, digest: str) -> dict[str, object]:
    path = folder / name
    if not path.is_file():
        return {"file": name, "size": None, "sha256": digest[:16], "state": "missing"}
    same = sha256_file(path) == digest
    return {"file": name, "size": path.stat().st_size, "sha256": digest[:16], "state": "ok" if same else "changed"}


def _plans(folder: Path) -> Iterator[dict[str, object]]:
    """Every plan beside the manifest, with what its sidecar says about it."""
    for path in sorted(folder.glob("*.trt")):
        digest = sha256_file(path)
        try:
            sidecar = read_sidecar(path)
        except BundleError as error:
            state = f"sidecar damaged: {error}"
        else:
            state = "no sidecar" if sidecar is None else "ok" if sidecar.sha256 == digest else "changed"
        yield {"file": path.name, "size": path.stat().st_size, "sha256": digest[:16], "state": state}

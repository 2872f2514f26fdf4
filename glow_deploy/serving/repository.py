"""A bundle as a model repository for Triton Inference Server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from glow_deploy.arguments import as_path
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.files import read_regular, sha256_bytes, sha256_file
from glow_deploy.artifact.whole_folder import check_folder_target, write_folder
from glow_deploy.errors import UsageError

from .model_files import repository_files
from .settings import TritonSettings

__all__ = ["MARKER", "write_repository"]

MARKER = "glow-deploy.json"
"""Says what a repository was made of, and which files are this tool's. Triton reads folders alone."""

_FORMAT_VERSION = 1


def write_repository(
    bundle: Bundle | str | Path, out: str | Path, *, settings: TritonSettings | None = None
) -> dict[str, str]:
    """Write a repository of five models: encoder, decoder, scoring, sampling, and the canary; or six, for exact graphs.

    It appears whole or not at all. The graphs are those of the bundle, byte for byte. Scoring and sampling run in
    Triton's Python backend and need this package there; they ask the encoder and the decoder inside the server. The
    canary is left out for `tensorrt`, whose graphs have to be compiled on the GPU.

    Args:
        bundle: opened, or its folder.
        out: the repository's folder; its parent must exist.
        settings: how to serve it; None for the defaults.

    Returns:
        The files' sha256 by their names in the repository.

    Raises:
        UsageError: the folder holds something, or something else than a repository of this tool; or the bundle's plans
            do not take a batch of 1.
        BundleError: the bundle is damaged.
        EngineError: there are no plans in it, and they are asked for.
    """
    settings = settings or TritonSettings()
    bundle = bundle if isinstance(bundle, Bundle) else Bundle.open(bundle)
    place = as_path("out", out)
    check_folder_target(place, ours=_written(place), force=settings.force)
    files = repository_files(bundle, settings)
    bundle.check_unchanged()  # all of them are of one export
    digests = {name: sha256_bytes(data) for name, data in files.items()}
    marker: dict[str, Any] = {
        "format_version": _FORMAT_VERSION,
        "model_id": bundle.manifest.model_id,
        "precision": bundle.manifest.precision,
        "name": settings.name,
        "backend": settings.backend,
        "files": dict(sorted(digests.items())),
    }
    write_folder(place, {**files, MARKER: (json.dumps(marker, indent=2) + "\n").encode()})
    return digests


def _written(place: Path) -> set[str]:
    """Files that are as an earlier run wrote them, and what Python made of them; empty where no run wrote the folder.

    A configuration that was changed by hand is its author's.
    """
    try:
        found = json.loads(read_regular(place / MARKER, most=1 << 20, error=UsageError))
        listed = {str(name): str(digest) for name, digest in found["files"].items()}
    except (UsageError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return set()
    files = {MARKER, *(name for name, digest in listed.items() if _is_as_listed(place, name, digest))}
    compiled = (path.relative_to(place) for path in place.glob("*/*/__pycache__/model.*.pyc"))
    return files | {path.as_posix() for path in compiled if f"{path.parents[1].as_posix()}/model.py" in files}


def _is_as_listed(place: Path, name: str, digest: str) -> bool:
    # Only what lies in the folder is looked at, and no link is followed: the list is a file like any other.
    path = place / name
    if ".." in path.parts or path.is_symlink() or not path.is_file() or place not in path.parents:
        return False
    return sha256_file(path) == digest

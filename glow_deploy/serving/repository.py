"""A bundle as a model repository for Triton Inference Server."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from glow_core.temporaries import left_by_the_dead, temporary_name
from glow_deploy.arguments import as_path
from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.files import read_regular, sha256_bytes, sync_folder
from glow_deploy.artifact.switch import exchange
from glow_deploy.errors import UsageError

from .model_files import Files, repository_files
from .settings import TritonSettings

__all__ = ["MARKER", "write_repository"]

MARKER = "glow-deploy.json"
"""Says what a repository was made of, and which files are this tool's. Triton reads folders alone."""

_FORMAT_VERSION = 1
_UNFINISHED = ".unfinished"


def write_repository(
    bundle: Bundle | str | Path, out: str | Path, *, settings: TritonSettings | None = None
) -> dict[str, str]:
    """Write a repository of five models: encoder, decoder, scoring, sampling, and the canary.

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
    _check_target(place, force=settings.force)
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
    _write(place.resolve(), {**files, MARKER: (json.dumps(marker, indent=2) + "\n").encode()})
    return digests


def _check_target(place: Path, *, force: bool) -> None:
    if place.exists() and not place.is_dir():
        raise UsageError(f"{place} is a file; a repository is a folder, give another out=")
    if not place.resolve().parent.is_dir():
        raise UsageError(f"{place.parent}: no such folder to put {place.name} in; create it or give another out=")
    if not place.is_dir() or not any(place.iterdir()):
        return
    if not force:
        raise UsageError(f"{place} exists already; give force=True to replace it, or another out=")
    ours = _written(place)
    for path in sorted(place.rglob("*")):
        name = path.relative_to(place).as_posix()
        if (not path.is_dir() or path.is_symlink()) and name not in ours:
            raise UsageError(f"{place} holds {name}, which this tool did not write; give a new or empty folder")


def _written(place: Path) -> set[str]:
    """Files that an earlier run wrote; empty where the folder is none of ours."""
    try:
        found = json.loads(read_regular(place / MARKER, most=1 << 20, error=UsageError))
        return {MARKER, *map(str, found["files"])}
    except (UsageError, ValueError, KeyError, TypeError, RecursionError):
        return set()


def _write(place: Path, files: Mapping[str, bytes] | Files) -> None:
    """Make the folder beside its place, and let it change places with what is there."""
    for left in left_by_the_dead(place, suffix=_UNFINISHED):
        shutil.rmtree(left, ignore_errors=True)
    made = place.with_name(temporary_name(place.name, suffix=_UNFINISHED))
    try:
        for name, data in files.items():
            path = made / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as handle:
                handle.write(data)
                handle.flush()
                os.fsync(handle.fileno())
        if not place.is_dir():
            made.replace(place)
        elif not exchange(made, place):
            # Only where a system cannot exchange two folders: for an instant there is none.
            old = place.with_name(temporary_name(place.name, suffix=_UNFINISHED))
            place.replace(old)
            try:
                made.replace(place)
            except BaseException:
                with suppress(OSError):
                    old.replace(place)
                raise
            shutil.rmtree(old, ignore_errors=True)
        sync_folder(place.parent)
    except OSError as error:
        raise UsageError(f"cannot write {place}: {error.strerror or error}; choose another place with out=") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)

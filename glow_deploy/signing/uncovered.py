"""What is in a folder, and what of it a signature does not cover."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from glow_deploy.artifact.files import sha256_file
from glow_deploy.artifact.signed import SIGNATURE
from glow_deploy.errors import BundleError, SignatureError
from glow_deploy.printable import shown

from .statement import read_statement

__all__ = ["hash_folder", "is_stale", "uncovered"]

_MOST = 12


def hash_folder(folder: Path) -> dict[str, str]:
    """Return name -> sha256 of every file in a folder and in the folders of it, the signature left out.

    Links to files count as the files. Hidden files count too: what is left out here, no signature covers.

    Raises:
        BundleError: a file cannot be read; or there is a link to a folder, a pipe or the like.
    """
    digests: dict[str, str] = {}

    def fail(error: OSError) -> None:
        raise BundleError(f"{error.filename}: cannot be read ({error.strerror})") from None

    for place, folders, files in os.walk(folder, onerror=fail):
        for name in folders:
            if (Path(place) / name).is_symlink():
                raise BundleError(f"{Path(place) / name} is a link to a folder, which no signature covers; remove it")
        for name in files:
            path = Path(place) / name
            relative = path.relative_to(folder).as_posix()
            if relative == SIGNATURE:
                continue
            if not path.is_file():
                raise BundleError(f"{path} is not a file, so no signature covers it; remove it")
            try:
                digests[relative] = sha256_file(path)
            except OSError as error:
                fail(error)
    return digests


def is_stale(bundle: Path) -> bool:
    """Whether a bundle carries a signature that does not cover it as it is. Whose signature it is, is not asked.

    Raises:
        BundleError: a file of the bundle cannot be read.
    """
    try:
        statement = read_statement(bundle)
    except SignatureError:
        return True
    return statement is not None and bool(uncovered(statement.digests, hash_folder(bundle)))


def uncovered(signed: Mapping[str, str], found: Mapping[str, str]) -> str:
    """Say how files differ from those that were signed; empty where they do not.

    Args:
        signed: name -> sha256, of the signature.
        found: name -> sha256, of the folder.
    """
    both = signed.keys() & found.keys()
    parts = (
        ("changed", [name for name in both if signed[name] != found[name]]),
        ("added", found.keys() - signed.keys()),
        ("missing", signed.keys() - found.keys()),
    )
    return "; ".join(f"{what}: {_listed(sorted(names))}" for what, names in parts if names)


def _listed(names: Sequence[str]) -> str:
    """Names from a file or a folder, for a message: they may hold anything, and be many."""
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(shown(name) for name in names[:_MOST]) + more

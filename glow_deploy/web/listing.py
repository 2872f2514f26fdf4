"""The list of a site's files, by which the next site knows what it may replace: what is still as it was written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from glow_deploy.artifact.files import read_regular, sha256_file
from glow_deploy.errors import UsageError

__all__ = ["LISTING", "is_as_listed", "listing_bytes", "read_listing"]

LISTING = "files.txt"
"""Names every other file of the site and its sha256."""

_TITLE = "Files of a site that glow-deploy wrote, by sha256"
_LINE = re.compile(r"([0-9a-f]{64})  ((?:[\w-][\w.-]*/)*[\w-][\w.-]*)", re.ASCII)
_MOST = 1 << 20  # bytes; a site with a thousand golden images has a tenth


def listing_bytes(files: Mapping[str, frozenset[str]]) -> bytes:
    """Return the list.

    Args:
        files: name, with `/` for folders, -> sha256. Several while one site takes another's place: a file is then as
            one of the two has it.
    """
    lines = [f"{digest}  {name}" for name in sorted(files) for digest in sorted(files[name])]
    return "".join(f"{line}\n" for line in (_TITLE, *lines)).encode()


def read_listing(folder: Path) -> dict[str, frozenset[str]]:
    """Read the list of the site in a folder; no name in it leads out of the folder.

    Raises:
        UsageError: there is none, or it is not a list that a site has.
    """
    path = folder / LISTING
    refused = UsageError(f"{folder} holds other files and no site; give a new or empty folder with out=")
    if not path.is_file():
        raise refused
    try:
        title, *lines = read_regular(path, most=_MOST, error=UsageError).decode("ascii").removesuffix("\n").split("\n")
    except (UnicodeDecodeError, UsageError):
        raise refused from None
    found: dict[str, frozenset[str]] = {}
    for line in lines:
        parts = _LINE.fullmatch(line)
        if title != _TITLE or parts is None:
            raise refused
        found[parts[2]] = found.get(parts[2], frozenset()) | {parts[1]}
    if not found:
        raise refused
    return found


def is_as_listed(folder: Path, name: str, digests: frozenset[str]) -> bool:
    """Whether a file of a folder is there, through no link, with one of these sha256."""
    path = folder / name
    above = [folder / parent for parent in Path(name).parents][:-1]
    if path.is_symlink() or any(parent.is_symlink() for parent in above) or not path.is_file():
        return False
    return sha256_file(path) in digests

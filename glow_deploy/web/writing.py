"""Writing a site so that an earlier one is replaced and nothing else in the folder is touched."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from glow_deploy.artifact.files import atomic_write, remove_temporaries, sha256_bytes
from glow_deploy.artifact.whole_folder import write_folder
from glow_deploy.errors import UsageError

from .listing import LISTING, is_as_listed, listing_bytes, read_listing

__all__ = ["check_target", "write_site"]


def check_target(path: Path, *, force: bool) -> None:
    """Refuse a folder before any work is done.

    Raises:
        UsageError: it exists and holds something, unless `force` is on and it holds a site; or its own folder is not
            there.
    """
    if (path.exists() and not path.is_dir()) or (path.is_symlink() and not path.exists()):
        raise UsageError(f"{path} is no folder; a site is one, give another out=")
    held = path.is_dir() and any(path.iterdir())
    if held and not force:
        raise UsageError(f"{path} exists already; give force=True to replace the site in it, or another out=")
    if held:
        read_listing(path)
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder to put {path.name} in; create it or give another out=")


def write_site(path: Path, files: Mapping[str, bytes], *, force: bool) -> None:
    """Write all files: a new folder appears whole, in an earlier site each file is replaced whole.

    What an earlier site left and this one does not have is removed. What was changed since it was written is nobody's
    to remove and stays, as other files in the folder do; where this site has a file of that name, nothing is written.

    Args:
        path: the folder.
        files: name, with `/` for folders, -> bytes.
        force: replace a site that is there.

    Raises:
        UsageError: see `check_target`; or somebody's own file is in the way; or the folder cannot be written.
    """
    check_target(path, force=force)
    new = {name: frozenset({sha256_bytes(data)}) for name, data in files.items()}
    try:
        if not path.exists():
            write_folder(path, {**files, LISTING: listing_bytes(new)})
            return
        earlier = read_listing(path) if any(path.iterdir()) else {}
        either = {name: earlier.get(name, frozenset()) | new.get(name, frozenset()) for name in {*earlier, *new}}
        _check_in_the_way(path, {name: either[name] for name in new})
        for name in sorted({str(Path(name).parent) for name in files}):
            (path / name).mkdir(parents=True, exist_ok=True)
        # Whatever is cut short, the next run knows the files of both sites.
        atomic_write(path / LISTING, listing_bytes(either))
        for name, data in files.items():
            atomic_write(path / name, data)
        for name in earlier.keys() - files.keys():
            _remove(path, name, earlier[name])
        atomic_write(path / LISTING, listing_bytes(new))
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def _check_in_the_way(path: Path, allowed: Mapping[str, frozenset[str]]) -> None:
    """Refuse what a site would write over, and what it would write through, that no site wrote."""
    for name, digests in sorted(allowed.items()):
        above = [path / parent for parent in Path(name).parents][:-1]
        other = next(
            (folder for folder in above if folder.is_symlink() or (folder.exists() and not folder.is_dir())), None
        )
        if other is None and os.path.lexists(path / name) and not is_as_listed(path, name, digests):
            other = path / name
        if other is not None:
            raise UsageError(f"{other} is in the way and is not as a site left it; move it, or give another out=")


def _remove(path: Path, name: str, digests: frozenset[str]) -> None:
    if not is_as_listed(path, name, digests):
        return
    remove_temporaries([path / name])
    (path / name).unlink(missing_ok=True)
    with suppress(OSError):
        (path / name).parent.rmdir()

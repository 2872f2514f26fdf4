"""Writing a site so that an earlier one is replaced and nothing else in the folder is touched."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from glow_core.temporaries import left_by_the_dead, temporary_name
from glow_deploy.artifact.files import atomic_write, remove_temporaries, sync_folder
from glow_deploy.errors import UsageError

__all__ = ["LISTING", "check_target", "write_site"]

LISTING = "files.txt"
"""Names every file of the site, so that the next one knows which of them it may remove."""

_UNFINISHED = ".unfinished"


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
    if held and not (path / LISTING).is_file():
        raise UsageError(f"{path} holds other files and no site; give a new or empty folder with out=")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder to put {path.name} in; create it or give another out=")


def write_site(path: Path, files: Mapping[str, bytes], *, force: bool) -> None:
    """Write all files: a new folder appears whole, in an earlier site each file is replaced whole.

    What an earlier site left and this one does not have is removed; other files in the folder stay.

    Args:
        path: the folder.
        files: name, with `/` for folders, -> bytes.
        force: replace a site that is there.

    Raises:
        UsageError: see `check_target`; or the folder cannot be written.
    """
    check_target(path, force=force)
    listing = "".join(f"{name}\n" for name in sorted((*files, LISTING))).encode()
    try:
        if not path.exists():
            _write_new(path, {**files, LISTING: listing})
            return
        earlier = _earlier(path)
        for name in sorted({str(Path(name).parent) for name in files}):
            (path / name).mkdir(parents=True, exist_ok=True)
        # Whatever is cut short, the next run may remove all that either site has.
        both = "".join(f"{name}\n" for name in sorted({*files, *earlier, LISTING})).encode()
        atomic_write(path / LISTING, both)
        for name, data in files.items():
            atomic_write(path / name, data)
        for name in earlier - {*files, LISTING}:
            remove_temporaries([path / name])
            (path / name).unlink(missing_ok=True)
            with suppress(OSError):
                (path / name).parent.rmdir()
        atomic_write(path / LISTING, listing)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}; choose another place") from error


def _write_new(path: Path, files: Mapping[str, bytes]) -> None:
    for left in left_by_the_dead(path, suffix=_UNFINISHED):
        shutil.rmtree(left, ignore_errors=True)
    folder = path.with_name(temporary_name(path.name, suffix=_UNFINISHED))
    try:
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        sync_folder(folder)
        folder.rename(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _earlier(path: Path) -> set[str]:
    """The files of the site that is there; the list may come from anywhere, and names nothing outside the folder."""
    try:
        names = (path / LISTING).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return set()
    root = path.resolve()
    return {
        name for name in names if name and not Path(name).is_absolute() and (root / name).resolve().is_relative_to(root)
    }

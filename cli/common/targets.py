"""Where results go: refused before the work, not after it, and written whole."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["MOST_CELLS", "check_target", "is_folder", "open_folder", "write_whole"]

MOST_CELLS = 1024
"""Pictures in one grid: more is a wall nobody looks at."""


def check_target(path: Path) -> None:
    """Refuse a file that could not be written, before the work whose result would be lost.

    Raises:
        UsageError: a folder of that name is in the way, or its own folder is not there or cannot be written.
    """
    from glow_deploy.artifact.files import refuse_folder
    from glow_deploy.errors import UsageError

    refuse_folder(path)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"cannot write {path}: there is no such folder; name a file in one that is there")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write {path}: its folder is read-only; choose another place")


def is_folder(out: Path) -> bool:
    """Tell whether `--out` names a folder (it exists as one, or has no suffix) or a PNG file.

    Raises:
        UsageError: the suffix is another than `.png`, or it is `-`.
    """
    from glow_deploy.errors import UsageError

    if str(out) == "-":
        raise UsageError("--out -: pictures are not written to stdout; name a .png file or a folder")
    if out.is_dir() or not out.suffix:
        return True
    if out.suffix.lower() != ".png":
        raise UsageError(f"--out {out}: pictures are written as PNG; name a .png file or a folder")
    return False


def open_folder(folder: Path) -> None:
    """Make a folder for many files, and remove what a killed process left half-written in it."""
    from glow_deploy.artifact.files import remove_temporaries

    folder.mkdir(parents=True, exist_ok=True)
    remove_temporaries([folder / "picture"])


def write_whole(path: Path, data: bytes) -> None:
    """Write one of many files whole or not at all, should this process end.

    Not on disk for certain when it returns, for waiting each time would take longest: a power cut may lose or empty
    files written shortly before. `glow_deploy.artifact.files.sync_folder` after the last one makes their names durable.
    """
    from glow_core.temporaries import temporary_name

    # Exclusive and unpredictable: a link that somebody else left under this name is not followed.
    temporary = path.with_name(temporary_name("picture", token=secrets.token_hex(8)))
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:  # Ctrl-C may come at any moment, also right after the file has been made
        with os.fdopen(os.open(temporary, flags, 0o666), "wb") as stream:
            stream.write(data)
        temporary.replace(path)
    except FileExistsError:
        raise  # it is not ours
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk names no file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise

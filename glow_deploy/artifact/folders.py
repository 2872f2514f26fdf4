"""Finding out that a folder cannot be written before minutes of work are spent on what should go there."""

from __future__ import annotations

import tempfile
from pathlib import Path

from glow_deploy.errors import UsageError

__all__ = ["check_writable"]


def check_writable(folder: Path) -> None:
    """Make sure that files can be made in `folder`, or, where it is not there yet, in the folder it would be made in.

    A file is really made (and removed), for permissions, read-only file systems and full disks all count.

    Raises:
        UsageError: no file can be made there.
    """
    existing = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise UsageError(f"cannot write to {existing}: {error.strerror or error}; choose another place") from error

"""Where results go: refused before the work, not after it."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["check_target"]


def check_target(path: Path) -> None:
    """Refuse a file that could not be written, before the work whose result would be lost.

    Raises:
        UsageError: a folder of that name is in the way, or its own folder is not there or cannot be written.
    """
    from glow_deploy.errors import UsageError
    from glow_deploy.files import refuse_folder

    refuse_folder(path)
    folder = path.absolute().parent
    if not folder.is_dir():
        raise UsageError(f"cannot write {path}: there is no such folder; name a file in one that is there")
    if not os.access(folder, os.W_OK):
        raise UsageError(f"cannot write {path}: its folder is read-only; choose another place")

"""Files of a run's folder, opened for writing: it may be a stranger's, and its links lead anywhere. No torch here."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

__all__ = ["open_own", "refuse_link"]

# Without waiting: opening a pipe would never return.
_ALWAYS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


def open_own(path: Path, flags: int, *, error: type[Exception]) -> int:
    """Open a plain file of a run's folder, and nothing that a link of that name leads to.

    Args:
        path: the file.
        flags: as for `os.open`; without `os.O_TRUNC`, which would come before the look at what was opened.
        error: raised.

    Returns:
        The descriptor.

    Raises:
        Exception: of the kind `error`: it is a link, a folder, a pipe, or anything else but a plain file.
        OSError: it cannot be opened.
    """
    refuse_link(path, error=error)  # where the system cannot refuse to follow one
    try:
        handle = os.open(path, flags | _ALWAYS, 0o666)
    except OSError as problem:
        # A link or a folder that has just come, or what has no reader or driver.
        if problem.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise error(_unfit(path)) from problem
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise error(_unfit(path))
    return handle


def refuse_link(path: Path, *, error: type[Exception]) -> None:
    """Stop before anything is written through a link in a run's folder.

    Raises:
        Exception: of the kind `error`: `path` is a link.
    """
    if path.is_symlink():
        raise error(f"{path} is a link, and a run writes to nothing outside its folder; remove it")


def _unfit(path: Path) -> str:
    return f"{path} is not a plain file that a run can write to; remove it"

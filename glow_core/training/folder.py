"""Files of a run's folder, opened for writing: the folder may be a stranger's, and its links lead anywhere."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from glow_core.errors import TrainingError

__all__ = ["open_own", "refuse_link"]

# Without waiting: opening a pipe would never return.
_ALWAYS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC", "O_BINARY"))


def open_own(path: Path, flags: int) -> int:
    """Open a plain file of a run's folder, and nothing that a link of that name leads to.

    Args:
        path: the file.
        flags: as for `os.open`; without `os.O_TRUNC`, which would come before the look at what was opened.

    Returns:
        The descriptor.

    Raises:
        TrainingError: it is a link, a folder, a pipe, or anything else but a plain file.
        OSError: it cannot be opened.
    """
    refuse_link(path)  # where the system cannot refuse to follow one
    try:
        handle = os.open(path, flags | _ALWAYS, 0o666)
    except OSError as error:
        # A link or a folder that has just come, or what has no reader or driver.
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
            raise _unfit(path) from error
        raise
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        os.close(handle)
        raise _unfit(path)
    return handle


def refuse_link(path: Path) -> None:
    """Stop before anything is written through a link in a run's folder.

    Raises:
        TrainingError: `path` is a link.
    """
    if path.is_symlink():
        raise TrainingError(f"{path} is a link, and a run writes to nothing outside its folder; remove it")


def _unfit(path: Path) -> TrainingError:
    return TrainingError(f"{path} is not a plain file that a run can write to; remove it")

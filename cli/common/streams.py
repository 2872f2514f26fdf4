"""Standard streams and the working folder as a command may find them: closed, full, or gone."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["check_folder", "drop_output", "flush_output", "prepare_streams", "print_error", "system_trouble"]

_FULL = (errno.ENOSPC, errno.EFBIG, *([errno.EDQUOT] if hasattr(errno, "EDQUOT") else []))
_TROUBLE = (*_FULL, errno.EIO, errno.EROFS, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def prepare_streams() -> None:
    """Make sure that nothing else takes the place of a closed stream."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            # Else the next file that is opened gets this number, and what native code prints goes into it.
            with suppress(OSError):
                os.open(os.devnull, os.O_RDWR)


def check_folder() -> None:
    """Refuse to work in a folder that is not there any more: nothing can be named from there, and libraries crash.

    Raises:
        UsageError: it was removed.
    """
    from glow_deploy.errors import UsageError

    try:
        Path.cwd()
    except OSError:
        raise UsageError("the folder you are in was removed; change to another one and run this again") from None


def flush_output() -> None:
    """Print what is left, so that an error in it is seen while it can still be told.

    Raises:
        OSError: it cannot be printed.
    """
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def drop_output() -> None:
    """Let what is left to print go nowhere, where it cannot be printed. Python would complain again at its end."""
    try:
        flush_output()
    except (OSError, ValueError):
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_error(text: str) -> None:
    """Print on stderr; where that cannot be done, the exit code says enough."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


def system_trouble(error: OSError) -> str | None:
    """What to tell about an error of the system that is no fault of ours; None for any other."""
    where = "" if error.filename is None else f"{error.filename}: "
    words = error.strerror or str(error)
    if error.errno in _FULL:
        return f"{where or 'cannot write: '}{words}; make room and run this again"
    if error.errno in _TROUBLE:
        return f"{where}{words}; run this again when that is mended"
    if error.errno == errno.ENOENT and "temporary directory" in words:
        return f"{words}; set TMPDIR to a folder that can be written"
    return None

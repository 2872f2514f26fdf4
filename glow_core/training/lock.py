"""One session at a time in a run's folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from glow_core.errors import TrainingError

from .folder import open_own

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCK_NAME", "run_lock"]

LOCK_NAME = ".lock"
_UNABLE = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)  # what a file system without locks says


@contextmanager
def run_lock(out: Path) -> Iterator[None]:
    """Hold the folder of a run, made if need be, while the block runs. Distributed, process 0 does it for all.

    Where the system or the file system has no locks, nothing is held.

    Raises:
        TrainingError: another process trains there, or the folder cannot be written; or what lies in the place of the
            lock is no plain file.
    """
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
        held = None if fcntl is None else _take(out / LOCK_NAME)
    except OSError as error:
        raise TrainingError(f"cannot write to {out}: {error.strerror}; choose another folder") from error
    try:
        yield
    finally:
        if held is not None:
            with suppress(OSError):
                (out / LOCK_NAME).unlink()  # still held, so it is ours
            os.close(held)
        if made:
            with suppress(OSError):
                out.rmdir()  # where nothing came of it


def _take(path: Path) -> int | None:
    """Open and lock the file; None where the file system cannot."""
    while True:
        handle = open_own(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, handle):
                with suppress(OSError):  # a full disk is told by what has more to write
                    os.ftruncate(handle, 0)
                    os.write(handle, f"{os.getpid()}\n".encode())
                return handle
        except BlockingIOError:
            found = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            holder = found if found.isascii() and found.isdecimal() else "of an unknown number"
            os.close(handle)
            raise TrainingError(
                f"{path.parent}: process {holder} is training in it; wait for it or stop it, or choose another folder"
            ) from None
        except OSError as error:
            os.close(handle)
            if error.errno in _UNABLE:
                return None
            raise
        os.close(handle)  # its holder removed it while we waited for nothing


def _is_still(path: Path, handle: int) -> bool:
    """Whether the name still leads to the file that was locked."""
    try:
        return os.path.samestat(path.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False

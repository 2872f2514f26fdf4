"""One process at a time in a folder: a lock that ends with its process, however that ends. No torch here."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCK_NAME", "FolderInUseError", "held_folder"]

LOCK_NAME = ".lock"
_UNABLE = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)  # what a file system without locks says


class FolderInUseError(Exception):
    """Another process holds the folder. Whoever asked for it puts it into words.

    Attributes:
        holder: the number of that process, or `of an unknown number`.
    """

    def __init__(self, holder: str) -> None:
        super().__init__(holder)
        self.holder = holder


@contextmanager
def held_folder(folder: Path, *, open_file: Callable[[Path, int], int]) -> Iterator[None]:
    """Hold a folder, made if need be, while the block runs; one that nothing came into is removed again.

    Where the system or the file system has no locks, nothing is held.

    Args:
        folder: to hold.
        open_file: opens the file of the lock with the flags it is given, as `os.open` does.

    Raises:
        FolderInUseError: another process holds it.
        OSError: it cannot be written.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    held = None if fcntl is None else _take(folder / LOCK_NAME, open_file)
    try:
        yield
    finally:
        if held is not None:
            with suppress(OSError):
                (folder / LOCK_NAME).unlink()  # still held, so it is ours
            os.close(held)
        if made:
            with suppress(OSError):
                folder.rmdir()  # where nothing came of it


def _take(path: Path, open_file: Callable[[Path, int], int]) -> int | None:
    """Open and lock the file; None where the file system cannot."""
    while True:
        handle = open_file(path, os.O_RDWR | os.O_CREAT)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_still(path, handle):
                with suppress(OSError):  # a full disk is told by what has more to write
                    os.ftruncate(handle, 0)
                    os.write(handle, f"{os.getpid()}\n".encode())
                return handle
        except BlockingIOError:
            found = os.pread(handle, 32, 0).decode("ascii", "replace").strip()
            os.close(handle)
            known = found.isascii() and found.isdecimal()
            raise FolderInUseError(found if known else "of an unknown number") from None
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

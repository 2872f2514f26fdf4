"""One run at a time in an output folder: a lock that ends with its process, however that ends."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from glow_deploy.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["LOCK", "folder_lock"]

LOCK = ".lock"


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a folder, made if need be, while the block runs; one that nothing came into is removed again.

    Where the system or the file system has no locks, nothing is held.

    Raises:
        UsageError: another process works there, or the folder cannot be written.
    """
    made = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = None if fcntl is None else _take(folder / LOCK)
    except OSError as error:
        raise UsageError(f"cannot write to {folder}: {error.strerror or error}; choose another out=") from error
    try:
        yield
    finally:
        if held is not None:
            with suppress(OSError):
                (folder / LOCK).unlink()  # still held, so it is ours
            os.close(held)
        if made:
            with suppress(OSError):
                folder.rmdir()


def _take(path: Path) -> int | None:
    """Open and lock the file; None where the file system cannot."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(path.stat(), os.fstat(handle)):
                return handle
        except BlockingIOError:
            os.close(handle)
            raise UsageError(
                f"{path.parent}: another process works in it; wait for it or stop it, or choose another out="
            ) from None
        except FileNotFoundError:
            pass
        except OSError:
            os.close(handle)
            return None
        os.close(handle)  # its holder removed it between the two steps

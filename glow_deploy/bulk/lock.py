"""One run at a time in an output folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from glow_core.locks import FolderInUseError, held_folder
from glow_core.own_files import open_own
from glow_deploy.errors import UsageError

__all__ = ["folder_lock"]


@contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold a folder, made if need be, while the block runs; one that nothing came into is removed again.

    Where the system or the file system has no locks, nothing is held.

    Raises:
        UsageError: another process works there, or the folder cannot be written; or what lies in the place of the
            lock is no plain file.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(held_folder(folder, open_file=partial(open_own, error=UsageError)))
        except FolderInUseError as error:
            raise UsageError(
                f"{folder}: process {error.holder} works in it; wait for it or stop it, or choose another out="
            ) from None
        except OSError as error:
            raise UsageError(f"cannot write to {folder}: {error.strerror or error}; choose another out=") from error
        yield

"""One session at a time in a run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from glow_core.errors import TrainingError
from glow_core.locks import FolderInUseError, held_folder

from .folder import open_own

__all__ = ["run_lock"]


@contextmanager
def run_lock(out: Path) -> Iterator[None]:
    """Hold the folder of a run, made if need be, while the block runs. Distributed, process 0 does it for all.

    Where the system or the file system has no locks, nothing is held.

    Raises:
        TrainingError: another process trains there, or the folder cannot be written; or what lies in the place of the
            lock is no plain file.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(held_folder(out, open_file=open_own))
        except FolderInUseError as error:
            raise TrainingError(
                f"{out}: process {error.holder} is training in it; wait for it or stop it, or choose another folder"
            ) from None
        except OSError as error:
            raise TrainingError(f"cannot write to {out}: {error.strerror}; choose another folder") from error
        yield

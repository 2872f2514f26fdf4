"""Writing files whole or not at all, and knowing them by their sha256."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from glow_core.temporaries import left_by_the_dead, temporary_name
from glow_deploy.errors import BundleError, GlowDeployError, UsageError

__all__ = [
    "atomic_path",
    "atomic_paths",
    "atomic_write",
    "check_regular",
    "open_regular",
    "read_regular",
    "refuse_folder",
    "refuse_overwrite",
    "remove_temporaries",
    "sha256_bytes",
    "sha256_file",
    "sync_folder",
]


_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it becomes `path`, on any error it is removed.

    The temporary file lies in the same folder, because a rename is atomic only within one file system. It is flushed to
    disk before the rename, and the folder after it, so that a crash leaves the previous file or the new one.

    Raises:
        UsageError: the folder is missing or cannot be written, or the disk is full. Errors of other files that the
            caller meets meanwhile pass through.
    """
    with atomic_paths([path]) as (temporary,):
        yield temporary


@contextmanager
def atomic_paths(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Give temporary paths beside several files that belong together; on success they take their places at once.

    Everything is on the disk before the first rename, so that no more than the renames lie between the earlier files
    and the new ones. Files of the same names that a killed process left are removed.

    Raises:
        UsageError: see `atomic_path`.
    """
    paths = [Path(path) for path in paths]
    remove_temporaries(paths)
    temporaries = [path.with_name(temporary_name(path.name)) for path in paths]
    ours = {str(temporary): path for temporary, path in zip(temporaries, paths, strict=True)}
    try:
        yield temporaries
        for temporary in temporaries:
            # For writing, because Windows flushes no other handle.
            with temporary.open("rb+") as handle:
                os.fsync(handle.fileno())
        for temporary, path in zip(temporaries, paths, strict=True):
            temporary.replace(path)
        for folder in {path.parent for path in paths}:
            sync_folder(folder)
    except OSError as error:
        # A full disk names no file.
        if error.filename is not None and str(error.filename) not in ours:
            raise
        path = ours.get(str(error.filename), paths[0])
        reason = error.strerror or str(error)
        raise UsageError(f"cannot write {path}: {reason}; choose another place") from error
    finally:
        for temporary in temporaries:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def remove_temporaries(paths: Sequence[Path]) -> None:
    """Remove the temporary files of `atomic_path` for these targets whose writers are gone, and no others."""
    for path in paths:
        for left in left_by_the_dead(path):
            with suppress(OSError):
                left.unlink()


def atomic_write(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all; see `atomic_path`."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def check_regular(path: Path, *, error: type[GlowDeployError]) -> None:
    """Refuse what is no plain file: a pipe or a device would be waited for without end.

    Links are followed. A file that is not there, or not to be looked at, is left to whoever opens it.

    Args:
        path: a file's name.
        error: raised.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - Path.stat gives the same and no more
    except (OSError, ValueError):
        return
    if not stat.S_ISREG(mode):
        raise error(f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'a special file')}, not a file that can be read")


@contextmanager
def open_regular(path: Path, *, error: type[GlowDeployError]) -> Iterator[IO[bytes]]:
    """Open a plain file for reading, at once or not at all; see `check_regular`.

    Raises:
        GlowDeployError: of the kind `error`: missing, no plain file, or not to be read.
    """
    path = Path(path)
    try:
        # Without waiting: should the name become a pipe's after the look at it, opening would never return.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (OSError, ValueError) as problem:
        check_regular(path, error=error)
        raise error(f"{path}: cannot be read ({getattr(problem, 'strerror', None) or problem})") from problem
    mode = os.fstat(handle).st_mode
    if not stat.S_ISREG(mode):  # before Python makes a stream of it, which it does of no folder
        os.close(handle)
        raise error(f"{path} is {_KINDS.get(stat.S_IFMT(mode), 'a special file')}, not a file that can be read")
    with os.fdopen(handle, "rb") as stream:
        yield stream


def read_regular(path: Path, *, most: int, error: type[GlowDeployError]) -> bytes:
    """Read a plain file whole.

    Args:
        path: its name.
        most: bytes accepted.
        error: raised.

    Raises:
        GlowDeployError: of the kind `error`: missing, no plain file, not to be read, or larger than `most`.
    """
    with open_regular(path, error=error) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > most:
            raise error(f"{path} has {size} bytes; {most} at most are accepted for such a file")
        try:
            # No more than that: a reader makes room for all that it is asked for.
            return stream.read(size)
        except OSError as problem:
            raise error(f"{path}: cannot be read ({problem.strerror or problem})") from problem


def sha256_bytes(data: bytes) -> str:
    """Return the sha256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path, *, told: Callable[[int], None] | None = None) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits, read in pieces of 1 MiB.

    Args:
        path: the file.
        told: called with the bytes of each piece.

    Raises:
        BundleError: it is no plain file.
    """
    check_regular(Path(path), error=BundleError)
    digest = hashlib.sha256()
    with Path(path).open("rb") as handle:
        while piece := handle.read(1 << 20):
            digest.update(piece)
            if told is not None:
                told(len(piece))
    return digest.hexdigest()


def refuse_overwrite(path: Path, *, force: bool, elsewhere: str = "") -> None:
    """Stop before an existing file or a folder with something in it is replaced.

    Args:
        path: what would be replaced.
        force: replace it.
        elsewhere: the option that names another place, such as `out=`; empty where there is none.

    Raises:
        UsageError: `path` exists and `force` is off.
    """
    path = Path(path)
    if force or not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return
    other = f", or another {elsewhere}" if elsewhere else ""
    raise UsageError(f"{path} exists already; give force=True to replace it{other}")


def refuse_folder(path: Path) -> None:
    """Stop before work is spent on a file that a folder of the same name is in the way of.

    Raises:
        UsageError: `path` is a folder.
    """
    if Path(path).is_dir():
        raise UsageError(f"{path} is a folder where a file is to be written; remove it or choose another place")


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to disk, so that a rename in it survives a crash."""
    # Windows cannot open folders; there the rename alone has to do.
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

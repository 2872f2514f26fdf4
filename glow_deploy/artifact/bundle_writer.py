"""Writing a bundle so that whoever looks finds the old one or the new one, and no file of the user's is lost."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Self

from glow_core.temporaries import temporary_name
from glow_deploy.errors import UsageError

from .bundle import DECODER, ENCODER, GOLDEN, MANIFEST, Bundle, Manifest, export_at
from .files import refuse_folder, sha256_bytes, sync_folder
from .flavors import PLANS
from .leftovers import REPLACED, UNFINISHED, can_replace, recover, remove_leftovers, retire
from .manifest import PICTURE_GRAPHS
from .signed import SIGNATURE
from .switch import exchange

__all__ = ["BundleWriter", "check_bundle_target"]

_DISPENSABLE = (
    *PLANS,
    *(f"{plan}.json" for plan in PLANS),
    GOLDEN,
    SIGNATURE,
    *PICTURE_GRAPHS,
)  # what a bundle need not have


def check_bundle_target(path: Path, *, force: bool) -> None:
    """Refuse a target folder before any work is done.

    Raises:
        UsageError: it exists and holds something, unless `force` is on and it holds a bundle; or a folder lies where a
            file of the bundle belongs.
    """
    if path.is_symlink() and not path.exists():
        raise UsageError(f"{path} is a link to nothing; give another out=")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; a bundle is a folder, give another out=")
    held = path.is_dir() and any(entry.suffix != UNFINISHED for entry in path.iterdir())
    if held and not force:
        raise UsageError(f"{path} exists already; give force=True to replace it, or another out=")
    if held and not (path / MANIFEST).is_file():
        raise UsageError(f"{path} holds other files and no bundle; give a new or empty folder with out=")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder to put {path.name} in; create it or give another out=")
    for name in (MANIFEST, ENCODER, DECODER, *_DISPENSABLE):
        refuse_folder(path / name)


class BundleWriter:
    """Writes a bundle in a `with` block: files are made in a hidden folder beside it, and `finish` puts it in place.

    The bundle appears whole in one step, a new one by a rename. An earlier one changes names with it, so that whoever
    looks finds the old one or the new one. Only where the file system cannot do that there is an instant without
    either; a process killed in it leaves the earlier one under a hidden name, and the next writer puts it back. Where
    the folder is a mount point the files are renamed one by one, the manifest last.

    Plans and golden vectors of the earlier export go with it, for they no longer belong to it; other files stay. Where
    one cannot be moved it is kept under a hidden name, which the error says. Leaving the block without `finish`, by an
    error or not, removes what was made; what a killed process left is removed by the next one.

    Args:
        path: the folder, created if need be; its parent must exist.
        force: replace the bundle that is there.

    Raises:
        UsageError: the folder cannot be used or written.
    """

    def __init__(self, path: Path, *, force: bool) -> None:
        self._real = path.resolve()  # of a link the folder it leads to is replaced, and the link stays
        recover(self._real)
        check_bundle_target(path, force=force)
        self._path = path
        self._force = force
        self._digests: dict[str, str] = {}
        # Beside what it becomes: a rename is atomic only within one file system.
        inside = path.is_dir() and not can_replace(self._real)
        self._place = self._real if inside else self._real.parent
        self._folder = self._place / self._hidden(UNFINISHED)
        # Where an earlier bundle may lie, with files of the user's in it; set before anything is moved, since a signal
        # may come right after that.
        self._earlier: Path | None = None

    def __enter__(self) -> Self:
        with self.errors():
            remove_leftovers(self._real, self._place)
            try:  # Ctrl-C may come at any moment, also right after the folder has been made
                self._folder.mkdir()
            except FileExistsError:
                raise  # it is not ours
            except BaseException:
                shutil.rmtree(self._folder, ignore_errors=True)
                raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._earlier is not None:
            retire(self._earlier, self._real)
        if self._earlier != self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def place(self, name: str) -> Path:
        """Return where to write a file of the bundle; tell `add` its sha256 afterwards."""
        return self._folder / name

    def add(self, name: str, sha256: str) -> None:
        """Take a file that was written to `place(name)` and flushed to disk into the bundle."""
        self._digests[name] = sha256

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the bundle."""
        with self.errors(), self.place(name).open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        self.add(name, sha256_bytes(data))

    def finish(self, manifest: Manifest) -> Bundle:
        """Write the manifest and put everything in place.

        Args:
            manifest: without `files`, which is filled in here.

        Raises:
            UsageError: a file cannot be written, or the target was taken meanwhile; or the bundle is written, and what
                else lay in the earlier one cannot be moved to it.
        """
        complete = replace(manifest, files=dict(sorted(self._digests.items())))
        names = list(self._digests)
        self.write(MANIFEST, complete.to_bytes())
        export = export_at(self._folder)
        check_bundle_target(self._path, force=self._force)
        with self.errors():
            sync_folder(self._folder)
            if self._place == self._real:
                for name in (*names, MANIFEST):
                    self.place(name).replace(self._path / name)
                sync_folder(self._path)
                _remove_stale(self._path, keep=set(names))
            else:
                self._switch()
                sync_folder(self._place)
                self._retire()
        return Bundle(path=self._path, manifest=complete, export=export)

    def _switch(self) -> None:
        """Put the finished folder in the place of the target, and bring what is not the bundle's after it."""
        if not self._force or not self._real.is_dir():
            self._folder.replace(self._real)  # onto an empty folder, or nothing: never onto what came there meanwhile
            return
        shutil.copymode(self._real, self._folder)
        self._earlier = self._folder
        if exchange(self._folder, self._real):
            return
        self._earlier = self._place / self._hidden(REPLACED)
        try:
            self._real.replace(self._earlier)
            self._folder.replace(self._real)
        except BaseException:
            with suppress(OSError):  # the new one is in its place already, or nothing was moved
                self._earlier.replace(self._real)
            raise

    def _retire(self) -> None:
        """Remove the earlier bundle, without what is the user's."""
        if self._earlier is None:
            return
        stayed = retire(self._earlier, self._real)
        if stayed:
            count = "an entry" if len(stayed) == 1 else f"{len(stayed)} entries"
            raise UsageError(
                f"the bundle is written, but {count} of the earlier one cannot be moved to it ({stayed[0]}): kept in "
                f"{self._earlier}; move what you need from there"
            )

    def _hidden(self, suffix: str) -> str:
        return temporary_name(self._real.name, suffix=suffix)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what the system says about a file that cannot be written into one clear line."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(f"cannot write {self._path}: {reason}; choose another place with out=") from error


def _remove_stale(path: Path, *, keep: set[str]) -> None:
    for name in _DISPENSABLE:
        if name not in keep:
            try:
                (path / name).unlink(missing_ok=True)
            except OSError as error:
                reason = error.strerror or str(error)
                raise UsageError(
                    f"the bundle is written, but {path / name} of the earlier one cannot be removed: {reason}"
                ) from error

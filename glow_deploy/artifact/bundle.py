"""The artifact folder: encoder, decoder, golden vectors, and the manifest that describes them."""

from __future__ import annotations

import glob
import os
import platform
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from glow_deploy.errors import BundleError, UsageError

from .files import check_regular, refuse_folder, sha256_bytes, sha256_file, sync_folder
from .flavors import PLANS
from .golden import Golden, read_golden
from .manifest import DECODER, ENCODER, FORMAT_VERSION, GOLDEN, MANIFEST, Manifest, read_manifest_bytes

__all__ = [
    "DECODER",
    "ENCODER",
    "FORMAT_VERSION",
    "GOLDEN",
    "MANIFEST",
    "Bundle",
    "BundleWriter",
    "Manifest",
    "check_bundle_target",
]

_UNFINISHED = ".unfinished"  # marks the folder of an export that was cut short, if one is left

_DISPENSABLE = (*PLANS, *(f"{plan}.json" for plan in PLANS), GOLDEN)  # what a bundle need not have


@dataclass(frozen=True, kw_only=True, repr=False)
class Bundle:
    """A bundle on disk whose manifest has been read.

    Attributes:
        path: the folder.
        manifest: already checked.
    """

    path: Path
    manifest: Manifest

    def __repr__(self) -> str:
        channels, height, width = self.manifest.image_shape
        model = self.manifest.model
        return (
            f"Bundle({str(self.path)!r}: {channels}x{height}x{width}, {self.manifest.n_bits} bits, "
            f"{model['levels']} levels of {model['steps']} steps, {model['coupling']}, {self.manifest.precision})"
        )

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Read the manifest of a bundle; the other files are checked when they are asked for.

        Raises:
            BundleError: no such folder, no manifest in it, or one that cannot be read.
        """
        path = Path(path)
        if not path.is_dir():
            raise BundleError(_no_folder(path))
        manifest = path / MANIFEST
        data = read_manifest_bytes(manifest)
        if data is None:
            raise BundleError(
                f"{path}: no {MANIFEST} in it, so it is not a bundle or its export was cut short; {_near(path)}"
            )
        return cls(path=path, manifest=Manifest.from_bytes(data, source=str(manifest)))

    def file(self, name: str) -> Path:
        """Return the path of a listed file after comparing its sha256 with the manifest's.

        Raises:
            BundleError: not listed, missing, or not the file the manifest describes.
        """
        if name not in self.manifest.files:
            raise BundleError(f"{self.path}: its manifest lists no {name}")
        path = self.path / name
        check_regular(path, error=BundleError)
        try:
            digest = sha256_file(path)
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror}); export the bundle again") from error
        if digest != self.manifest.files[name]:
            raise BundleError(
                f"{path}: changed or damaged since the export (sha256 differs from the manifest); export it again"
            )
        return path

    def golden(self) -> Golden | None:
        """Read the golden vectors, or return None for a bundle exported without.

        Raises:
            BundleError: the file is missing, changed or damaged.
        """
        if self.manifest.golden_source is None:
            return None
        return read_golden(
            self.file(GOLDEN),
            image_shape=self.manifest.image_shape,
            latent_shapes=self.manifest.latent_shapes,
            labelled=self.manifest.num_classes is not None,
        )


def _no_folder(path: Path) -> str:
    """What to say where a bundle is asked for and no folder is given."""
    if not path.exists():
        return f"{path}: no such bundle folder; `glow-deploy export CKPT` makes one"
    if path.name == MANIFEST or (path.parent / MANIFEST).is_file():
        return f"{path} is a file of a bundle; name the folder: {path.parent}"
    made_by = "" if path.suffix == ".onnx" else f"; if it is a checkpoint, `glow-deploy export {path}` makes one of it"
    return f"{path} is a file, not a bundle folder{made_by}"


def _near(path: Path) -> str:
    """Which bundles lie in a folder that is none itself."""
    try:
        inside = sorted(item for item in path.iterdir() if (item / MANIFEST).is_file())
    except OSError:
        inside = []
    return f"name the one in it: {inside[0]}" if inside else "`glow-deploy export CKPT` makes one"


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
    held = path.is_dir() and any(entry.suffix != _UNFINISHED for entry in path.iterdir())
    if held and not force:
        raise UsageError(f"{path} exists already; give force=True to replace it, or another out=")
    if held and not (path / MANIFEST).is_file():
        raise UsageError(f"{path} holds other files and no bundle; give a new or empty folder with out=")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder to put {path.name} in; create it or give another out=")
    for name in (MANIFEST, ENCODER, DECODER, *_DISPENSABLE):
        refuse_folder(path / name)


class BundleWriter:
    """Writes a bundle in a `with` block: files are made in a hidden folder, and `finish` puts them in place.

    A new bundle appears whole, by one rename. Over an earlier one the files are renamed one by one, the manifest last:
    a crash between two renames leaves files that the earlier manifest does not describe, which `Bundle.file` notices by
    their sha256. Plans and golden vectors of the earlier export are removed at the very end, for they no longer belong
    to it. Leaving the block without `finish`, by an error or not, removes what was made; what a killed process left is
    removed by the next one.

    Args:
        path: the folder, created if need be; its parent must exist.
        force: replace the bundle that is there.

    Raises:
        UsageError: the folder cannot be used or written.
    """

    def __init__(self, path: Path, *, force: bool) -> None:
        check_bundle_target(path, force=force)
        self._path = path
        self._force = force
        self._digests: dict[str, str] = {}
        # Beside what it becomes: a rename is atomic only within one file system.
        self._place = path if path.is_dir() else path.parent
        self._folder = self._place / f".{path.name}.{_host()}.{os.getpid()}.{secrets.token_hex(4)}{_UNFINISHED}"

    def __enter__(self) -> Self:
        with self.errors():
            for left in self._place.glob(f".{glob.escape(self._path.name)}.{_host()}.*{_UNFINISHED}"):
                if not _running(left.name.split(".")[-3]):
                    shutil.rmtree(left, ignore_errors=True)
            self._folder.mkdir()
        return self

    def __exit__(self, *error: object) -> None:
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
            UsageError: a file cannot be written, or the target was taken meanwhile.
        """
        complete = replace(manifest, files=dict(sorted(self._digests.items())))
        names = list(self._digests)
        self.write(MANIFEST, complete.to_bytes())
        check_bundle_target(self._path, force=self._force)
        with self.errors():
            if self._path.is_dir():
                for name in (*names, MANIFEST):
                    self.place(name).replace(self._path / name)
                sync_folder(self._path)
            else:
                sync_folder(self._folder)
                self._folder.replace(self._path)
                sync_folder(self._path.parent)
        _remove_stale(self._path, keep=set(names))
        return Bundle(path=self._path, manifest=complete)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn what the system says about a file that cannot be written into one clear line."""
        try:
            yield
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(f"cannot write {self._path}: {reason}; choose another place with out=") from error


def _host() -> str:
    """This machine's name, without dots: only its own processes can be asked whether they still run."""
    return re.sub(r"[^A-Za-z0-9-]", "-", platform.node())[:40] or "host"


def _running(pid: str) -> bool:
    """False where a process is known to have ended."""
    if not pid.isdigit() or os.name != "posix":
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


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

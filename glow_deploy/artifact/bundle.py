"""The artifact folder: encoder, decoder, golden vectors, and the manifest that describes them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Self, TypeVar

from glow_core.temporaries import temporary_name
from glow_deploy.arguments import as_path
from glow_deploy.errors import BundleError, BundleReplacedError, UsageError

from .files import check_regular, open_regular, refuse_folder, sha256_bytes, sha256_file, sync_folder
from .flavors import PLANS
from .golden import Golden, read_golden
from .graph_file import parse_graph
from .leftovers import REPLACED, UNFINISHED, can_replace, recover, remove_leftovers, retire
from .limits import SIZE_LIMIT
from .manifest import DECODER, ENCODER, FORMAT_VERSION, GOLDEN, MANIFEST, Manifest, read_manifest_bytes
from .signed import SIGNATURE, SignedFiles
from .switch import exchange

if TYPE_CHECKING:
    import onnx

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
    "while_unchanged",
]

_Result = TypeVar("_Result")

_DISPENSABLE = (*PLANS, *(f"{plan}.json" for plan in PLANS), GOLDEN, SIGNATURE)  # what a bundle need not have
_TRIES = 5  # to read a bundle that is replaced again and again


@dataclass(frozen=True, kw_only=True, repr=False)
class Bundle:
    """A bundle on disk whose manifest has been read.

    Attributes:
        path: the folder.
        manifest: already checked.
        export: tells this export of the folder from any other, also one of the same model; None: not known.
        signed: what the files are held to besides the manifest, where a signature was checked.
    """

    path: Path
    manifest: Manifest
    export: tuple[int, ...] | None = field(default=None, compare=False)
    signed: SignedFiles | None = None

    def __repr__(self) -> str:
        channels, height, width = self.manifest.image_shape
        model = self.manifest.model
        return (
            f"Bundle({str(self.path)!r}: {channels}x{height}x{width}, {self.manifest.n_bits} bits, "
            f"{model['levels']} levels of {model['steps']} steps, {model['coupling']}, {self.manifest.precision})"
        )

    @classmethod
    def open(cls, path: str | Path, *, signed: SignedFiles | None = None) -> Bundle:
        """Read the manifest of a bundle; the other files are checked when they are asked for.

        Args:
            path: the folder.
            signed: of a signature that was checked; the manifest and every file must be what it says.

        Raises:
            UsageError: not a path.
            BundleError: no such folder, no manifest in it, or one that cannot be read.
            SignatureError: the manifest is not the one that was signed.
        """
        path = as_path("bundle", path)
        if not path.is_dir():
            raise BundleError(_no_folder(path))
        manifest = path / MANIFEST
        export = _export_at(path)
        data = read_manifest_bytes(manifest)
        if data is None:
            raise BundleError(
                f"{path}: no {MANIFEST} in it, so it is not a bundle or its export was cut short; {_near(path)}"
            )
        if signed is not None:
            signed.check(manifest, data)
        opened = Manifest.from_bytes(data, source=str(manifest))
        return cls(path=path, manifest=opened, export=export, signed=signed)

    def file(self, name: str) -> Path:
        """Return the path of a listed file after comparing its sha256 with the manifest's.

        Raises:
            BundleError: not listed, missing, or not the file the manifest describes.
            BundleReplacedError: it belongs to another export, which has replaced this one.
        """
        if name not in self.manifest.files:
            raise BundleError(f"{self.path}: its manifest lists no {name}")
        path = self.path / name
        check_regular(path, error=BundleError)
        try:
            digest = sha256_file(path)
        except OSError as error:
            self.check_unchanged()
            raise BundleError(f"{path}: cannot be read ({error.strerror}); export the bundle again") from error
        if digest != self.manifest.files[name]:
            self.check_unchanged()
            raise BundleError(
                f"{path}: changed or damaged since the export (sha256 differs from the manifest); export it again"
            )
        return path

    def check_unchanged(self) -> None:
        """Make sure that the folder still holds this bundle.

        Raises:
            BundleReplacedError: another export has replaced it.
        """
        if _export_at(self.path) not in (None, self.export):
            raise BundleReplacedError(
                f"{self.path} was replaced by another export while it was read; run this again when that is done"
            )

    def read(self, name: str) -> bytes:
        """Read a listed file, and return the very bytes whose sha256 is the manifest's, and the signature's if any.

        Raises:
            BundleError: not listed, missing, or not the file the manifest describes.
            BundleReplacedError: it belongs to another export, which has replaced this one.
            SignatureError: not the file that was signed.
        """
        if name not in self.manifest.files:
            raise BundleError(f"{self.path}: its manifest lists no {name}")
        path = self.path / name
        try:
            with open_regular(path, error=BundleError) as stream:
                size = os.fstat(stream.fileno()).st_size
                if size > SIZE_LIMIT:
                    raise BundleError(f"{path} is larger than 2 GiB, which no file of a bundle is; export it again")
                data = stream.read(size)
        except OSError as error:
            self.check_unchanged()
            raise BundleError(f"{path}: cannot be read ({error.strerror}); export the bundle again") from error
        if sha256_bytes(data) != self.manifest.files[name]:
            self.check_unchanged()
            raise BundleError(
                f"{path}: changed or damaged since the export (sha256 differs from the manifest); export it again"
            )
        if self.signed is not None:
            self.signed.check(path, data)
        return data

    def graph(self, name: str) -> onnx.ModelProto:
        """Read a graph, `ENCODER` or `DECODER`, and look it over as before it is run.

        Raises:
            BundleError: missing, changed, damaged, not one of ours, or holding something that is never run.
            SignatureError: not the file that was signed.
        """
        return parse_graph(self.read(name), source=str(self.path / name))[0]

    def golden(self) -> Golden | None:
        """Read the golden vectors, or return None for a bundle exported without.

        Raises:
            BundleError: the file is missing, changed or damaged.
            SignatureError: not the file that was signed.
        """
        if self.manifest.golden_source is None:
            return None
        return read_golden(
            self.path / GOLDEN,
            data=self.read(GOLDEN),
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
        inside = sorted(item for item in path.iterdir() if item.name[0] != "." and (item / MANIFEST).is_file())
    except OSError:
        inside = []
    return f"name the one in it: {inside[0]}" if inside else "`glow-deploy export CKPT` makes one"


def while_unchanged(
    path: str | Path, use: Callable[[Bundle], _Result], *, signed: SignedFiles | None = None
) -> _Result:
    """Open a bundle and give it to `use`, again from the start where another export replaces it meanwhile.

    Args:
        path: the folder.
        use: what is done with it.
        signed: of a signature that was checked; only the bundle that it covers is given to `use`.

    Raises:
        BundleReplacedError: that happens again and again.
        BundleError: the bundle cannot be opened. What `use` raises passes through.
    """
    for _ in range(_TRIES - 1):
        with suppress(BundleReplacedError):
            return use(Bundle.open(path, signed=signed))
    return use(Bundle.open(path, signed=signed))


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
        export = _export_at(self._folder)
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


def _export_at(path: Path) -> tuple[int, ...] | None:
    """What no two exports have in common: the number of the manifest's file and when it was written."""
    try:
        found = (path / MANIFEST).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns


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

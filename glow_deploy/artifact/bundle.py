"""The artifact folder: encoder, decoder, golden vectors, and the manifest that describes them."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from glow_deploy.arguments import as_path
from glow_deploy.errors import BundleError, BundleReplacedError

from .files import check_regular, open_regular, sha256_bytes, sha256_file
from .golden import Golden, read_golden
from .graph_file import parse_graph
from .limits import SIZE_LIMIT
from .manifest import DECODER, ENCODER, FORMAT_VERSION, GOLDEN, MANIFEST, Manifest, read_manifest_bytes
from .signature import EXACT
from .signed import SignedFiles

if TYPE_CHECKING:
    import onnx

__all__ = [
    "DECODER",
    "ENCODER",
    "FORMAT_VERSION",
    "GOLDEN",
    "MANIFEST",
    "Bundle",
    "Manifest",
    "export_at",
    "while_unchanged",
]

_Result = TypeVar("_Result")

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
        export = export_at(path)
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
        if export_at(self.path) not in (None, self.export):
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
            integers=self.manifest.precision == EXACT,
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


def export_at(path: Path) -> tuple[int, ...] | None:
    """What no two exports have in common: the number of the manifest's file and when it was written."""
    try:
        found = (path / MANIFEST).stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mtime_ns

"""The artifact folder: encoder, decoder, golden vectors, and the manifest that describes them."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from .errors import BundleError, UsageError
from .files import atomic_path, refuse_folder, refuse_overwrite, sha256_bytes, sha256_file
from .golden import Golden, read_golden
from .manifest import DECODER, ENCODER, FORMAT_VERSION, GOLDEN, MANIFEST, Manifest, read_manifest_bytes

__all__ = [
    "DECODER",
    "ENCODER",
    "FORMAT_VERSION",
    "GOLDEN",
    "MANIFEST",
    "PLANS",
    "Bundle",
    "Manifest",
    "check_bundle_target",
    "write_bundle",
]

PLANS = ("encoder.trt", "decoder.trt", "encoder.rtx.trt", "decoder.rtx.trt")

_DISPENSABLE = (*PLANS, *(f"{plan}.json" for plan in PLANS), GOLDEN)  # what a bundle need not have


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle on disk whose manifest has been read.

    Attributes:
        path: the folder.
        manifest: already checked.
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: str | Path) -> Bundle:
        """Read the manifest of a bundle; the other files are checked when they are asked for.

        Raises:
            BundleError: no such folder, no manifest in it, or one that cannot be read.
        """
        path = Path(path)
        if not path.is_dir():
            what = "is a file, not a bundle folder" if path.exists() else "no such bundle folder"
            raise BundleError(f"{path}: {what}; `glow-deploy export CKPT` makes one")
        manifest = path / MANIFEST
        data = read_manifest_bytes(manifest)
        if data is None:
            raise BundleError(f"{path}: no {MANIFEST} in it, so it is not a bundle or its export was cut short")
        return cls(path=path, manifest=Manifest.from_bytes(data, source=str(manifest)))

    def file(self, name: str) -> Path:
        """Return the path of a listed file after comparing its sha256 with the manifest's.

        Raises:
            BundleError: not listed, missing, or not the file the manifest describes.
        """
        if name not in self.manifest.files:
            raise BundleError(f"{self.path}: its manifest lists no {name}")
        path = self.path / name
        try:
            digest = sha256_file(path)
        except OSError as error:
            raise BundleError(f"{path}: cannot be read ({error.strerror})") from error
        if digest != self.manifest.files[name]:
            raise BundleError(f"{path}: changed or damaged since the export (sha256 differs from the manifest)")
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


def check_bundle_target(path: Path, *, force: bool) -> None:
    """Refuse a target folder before any work is done.

    Raises:
        UsageError: it exists and holds something, unless `force` is on and it holds a bundle; or a folder lies where a
            file of the bundle belongs.
    """
    refuse_overwrite(path, force=force)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; a bundle is a folder, give another --out")
    if path.is_dir() and any(path.iterdir()) and not (path / MANIFEST).is_file():
        raise UsageError(f"{path} holds other files and no bundle; give a new or empty folder with --out")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder to put {path.name} in; create it or give another --out")
    for name in (MANIFEST, ENCODER, DECODER, *_DISPENSABLE):
        refuse_folder(path / name)


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes], *, force: bool) -> Bundle:
    """Write a bundle: every file under a temporary name first, then all renamed, the manifest last.

    Until the first rename a failure leaves what was there whole. One between two renames leaves files that the earlier
    manifest does not describe: `Bundle.file` notices by their sha256. Plans and golden vectors of an earlier export in
    the same folder are removed at the very end, for they no longer belong to it.

    Args:
        path: the folder, created if need be; its parent must exist.
        manifest: without `files`, which is filled in here.
        files: name -> content, of the names in this module.
        force: replace the bundle that is there.

    Raises:
        UsageError: the folder cannot be used or written.
    """
    check_bundle_target(path, force=force)
    created = not path.exists()
    digests = {name: sha256_bytes(data) for name, data in sorted(files.items())}
    complete = Manifest(**{**asdict(manifest), "files": digests})
    try:
        path.mkdir(exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot create {path}: {error.strerror}; choose another place with --out") from error
    try:
        # Renames happen as the stack unwinds, last entered first: so the manifest is entered first.
        with ExitStack() as stack:
            stack.enter_context(atomic_path(path / MANIFEST)).write_bytes(complete.to_bytes())
            for name, data in files.items():
                stack.enter_context(atomic_path(path / name)).write_bytes(data)
    except BaseException:
        if created:
            with suppress(OSError):
                path.rmdir()  # only if empty
        raise
    _remove_stale(path, keep=set(files))
    return Bundle(path=path, manifest=complete)


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

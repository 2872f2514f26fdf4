"""The artifact folder: encoder, decoder, golden vectors, and the manifest that describes them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .errors import BundleError, UsageError
from .files import atomic_path, refuse_overwrite, sha256_bytes, sha256_file
from .golden import Golden, read_golden

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

FORMAT_VERSION = 1

MANIFEST = "manifest.json"
ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"
GOLDEN = "golden.npz"
PLANS = ("encoder.trt", "decoder.trt", "encoder.rtx.trt", "decoder.rtx.trt")

_MANIFEST_LIMIT = 16 << 20  # bytes; a real one has a few thousand
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle is and how good it was when it was made.

    Attributes:
        format_version: of this file's layout.
        model: the model's config, as `GlowConfig.to_dict` gives it.
        model_id: as in the metadata of both graphs.
        weights: `ema` or `raw`.
        precision: `fp32`, ...
        tensors: for `encoder` and `decoder`, `inputs` and `outputs`, each {name: {dtype, shape}} without the batch.
        golden_source: `data`, `checkpoint`, `samples`, or None where there are no golden vectors.
        numerics: the figures measured at export; `yardstick` is the trained model's own float32 error.
        versions: package -> version that made the bundle.
        files: file name -> sha256; the only digests that gate.
    """

    format_version: int = FORMAT_VERSION
    model: Mapping[str, Any]
    model_id: str
    weights: str
    precision: str
    tensors: Mapping[str, Any]
    golden_source: str | None
    numerics: Mapping[str, Any]
    versions: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def n_bits(self) -> int:
        """Pixel depth of the model."""
        return int(self.model["n_bits"])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        height, width = self.model["image_size"]
        return int(self.model["channels"]), int(height), int(width)

    @property
    def num_classes(self) -> int | None:
        """Number of class labels, None for an unconditional model."""
        classes = self.model["num_classes"]
        return None if classes is None else int(classes)

    @property
    def latent_shapes(self) -> tuple[tuple[int, int, int], ...]:
        """(C, H, W) of z1 ... zL."""
        outputs = self.tensors["encoder"]["outputs"]
        shapes = (outputs[f"z{level}"]["shape"] for level in range(1, int(self.model["levels"]) + 1))
        return tuple((int(shape[0]), int(shape[1]), int(shape[2])) for shape in shapes)

    def to_bytes(self) -> bytes:
        """JSON with sorted keys; the same manifest gives the same bytes."""
        return (json.dumps(asdict(self), indent=2, sort_keys=True, allow_nan=False) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, source: str) -> Manifest:
        """Parse and check a manifest; `source` names it in messages.

        Raises:
            BundleError: not JSON, of another format version, or with missing or malformed entries.
        """
        try:
            values = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{source}: not readable JSON; export the model again") from error
        if not isinstance(values, dict) or "format_version" not in values:
            raise BundleError(f"{source}: not a manifest of this tool")
        if values["format_version"] != FORMAT_VERSION:
            raise BundleError(
                f"{source}: bundle format {values['format_version']!r}; this release reads {FORMAT_VERSION}; "
                "export the model again or use the release that wrote it"
            )
        try:
            manifest = cls(**values)
            manifest._check()
        except (TypeError, KeyError, ValueError, AttributeError, IndexError) as error:
            raise BundleError(
                f"{source}: an entry is missing or malformed ({error}); export the model again"
            ) from error
        return manifest

    def _check(self) -> None:
        if not 1 <= self.n_bits <= 8 or min(self.image_shape) < 1:
            raise ValueError("model.n_bits or model.image_size")
        levels = int(self.model["levels"])
        if not 1 <= levels <= 16 or len(self.latent_shapes) != levels:
            raise ValueError("model.levels")
        _ = self.num_classes
        if not isinstance(self.numerics, dict) or not isinstance(self.versions, dict):
            raise ValueError("numerics or versions")
        for role in ("encoder", "decoder"):
            for side in ("inputs", "outputs"):
                for name, spec in self.tensors[role][side].items():
                    if not isinstance(spec["dtype"], str) or not all(isinstance(d, int) for d in spec["shape"]):
                        raise ValueError(f"tensors.{role}.{side}.{name}")
        if not {ENCODER, DECODER} <= set(self.files):
            raise ValueError(f"files must list {ENCODER} and {DECODER}")
        if (GOLDEN in self.files) != (self.golden_source is not None):
            raise ValueError("golden_source")
        for name, digest in self.files.items():
            if name not in (ENCODER, DECODER, GOLDEN) or not _SHA256.fullmatch(digest):
                raise ValueError(f"files.{name}")


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
        try:
            if manifest.stat().st_size > _MANIFEST_LIMIT:
                raise BundleError(f"{manifest}: far too large to be a manifest")
            data = manifest.read_bytes()
        except FileNotFoundError as error:
            raise BundleError(
                f"{path}: no {MANIFEST} in it, so it is not a bundle or its export was cut short"
            ) from error
        except OSError as error:
            raise BundleError(f"{manifest}: cannot be read ({error.strerror})") from error
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
        UsageError: it exists and holds something, unless `force` is on and it holds a bundle.
    """
    refuse_overwrite(path, force=force)
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is a file; a bundle is a folder, give another --out")
    if path.is_dir() and any(path.iterdir()) and not (path / MANIFEST).is_file():
        raise UsageError(f"{path} holds other files and no bundle; give a new or empty folder with --out")
    if not path.parent.is_dir():
        raise UsageError(f"{path.parent}: no such folder to put {path.name} in; create it or give another --out")


def write_bundle(path: Path, manifest: Manifest, files: Mapping[str, bytes], *, force: bool) -> Bundle:
    """Write a bundle: every file under a temporary name first, then all renamed, the manifest last.

    Plans compiled from an earlier export in the same folder are removed, for they no longer belong to it.

    Args:
        path: the folder, created if need be; its parent must exist.
        manifest: without `files`, which is filled in here.
        files: name -> content, of the names in this module.
        force: replace the bundle that is there.

    Raises:
        UsageError: the folder cannot be used or written; what was there is still whole.
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
            _remove_stale(path, keep=set(files))
    except BaseException:
        if created:
            with suppress(OSError):
                path.rmdir()  # only if empty
        raise
    return Bundle(path=path, manifest=complete)


def _remove_stale(path: Path, *, keep: set[str]) -> None:
    for name in (*PLANS, *(f"{plan}.json" for plan in PLANS), GOLDEN):
        if name not in keep:
            (path / name).unlink(missing_ok=True)

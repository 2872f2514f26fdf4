"""The description of a bundle, `manifest.json`, read as untrusted input."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from glow_deploy.errors import BundleError

from .exported import ExportFigures
from .files import read_regular
from .metadata import latent_shapes
from .signature import EXACT
from .signed import SignedFiles

__all__ = [
    "DECODER",
    "ENCODER",
    "FORMAT_VERSION",
    "GOLDEN",
    "MANIFEST",
    "PICTURE_GRAPHS",
    "Manifest",
    "manifest_digest",
    "read_manifest_bytes",
]

FORMAT_VERSION = 1

MANIFEST = "manifest.json"
ENCODER = "encoder.onnx"
DECODER = "decoder.onnx"
GOLDEN = "golden.npz"
PICTURE_GRAPHS = ("encoder.uint8.onnx", "decoder.uint8.onnx")
"""The same graphs for 8-bit pictures, for programs elsewhere; most bundles have none."""

_LIMIT = 4 << 20  # bytes; a real one has a few thousand
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True, repr=False)
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
        numerics: what was measured at export.
        versions: package -> version that made the bundle.
        files: file name -> sha256; the only digests that gate.
        source: of a model from another project's checkpoint: `project`, and the `options` that reading it took. None
            for this tool's own, and then left out of the file.
    """

    format_version: int = FORMAT_VERSION
    model: Mapping[str, Any]
    model_id: str
    weights: str
    precision: str
    tensors: Mapping[str, Any]
    golden_source: str | None
    numerics: ExportFigures
    versions: Mapping[str, str]
    files: Mapping[str, str] = field(default_factory=dict)
    source: Mapping[str, Any] | None = None

    def __repr__(self) -> str:
        channels, height, width = self.image_shape
        return f"Manifest({channels}x{height}x{width}, {self.precision}, model {self.model_id[:12]})"

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
        return latent_shapes(self.image_shape, levels=int(self.model["levels"]))

    def to_bytes(self) -> bytes:
        """JSON with sorted keys; the same manifest gives the same bytes."""
        values = {**asdict(replace(self, numerics=ExportFigures())), "numerics": self.numerics.to_dict()}
        if self.source is None:
            del values["source"]
        return (json.dumps(values, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()

    @property
    def import_options(self) -> Mapping[str, Any]:
        """What it takes to read the checkpoint again; empty for this tool's own checkpoints."""
        return {} if self.source is None else self.source["options"]

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
            raise BundleError(f"{source}: not a manifest of this tool; export the model again")
        version = values["format_version"]
        if type(version) is not int or version != FORMAT_VERSION:
            raise BundleError(
                f"{source}: bundle format {str(version)[:40]}; this release reads {FORMAT_VERSION}; "
                "export the model again or use the release that wrote it"
            )
        try:
            manifest = cls(**{**values, "numerics": ExportFigures()})
            manifest._check()
            # The number of levels has been checked now.
            figures = ExportFigures.from_dict(values["numerics"], levels=len(manifest.latent_shapes))
            manifest = replace(manifest, numerics=figures)
        except (TypeError, KeyError, ValueError, OverflowError, AttributeError, IndexError) as error:
            raise BundleError(
                f"{source}: an entry is missing or malformed ({str(error)[:200]}); export the model again"
            ) from error
        return manifest

    def _check(self) -> None:
        model = self.model
        height, width = model["image_size"]
        limits = {"channels": 3, "levels": 16, "steps": 1024, "width": 65536, "n_bits": 8}
        for name, value, most in (
            ("image_size", height, 65536),
            ("image_size", width, 65536),
            *((name, model[name], most) for name, most in limits.items()),
            ("num_classes", 1 if model["num_classes"] is None else model["num_classes"], 1_000_000),
        ):
            if type(value) is not int or not 1 <= value <= most:
                raise ValueError(f"model.{name}")
        if model["channels"] == 2:
            raise ValueError("model.channels")
        if height % 2 ** model["levels"] or width % 2 ** model["levels"]:
            raise ValueError("model.levels")
        for name, kind in (("coupling", str), ("permutation", str), ("bounded_scale", bool)):
            if not isinstance(model[name], kind):
                raise ValueError(f"model.{name}")
        # Left out where they are off, as in every bundle of the first releases.
        if not isinstance(model.get("edge_bias", False), bool):
            raise ValueError("model.edge_bias")
        if model.get("prior", "conditional") not in ("conditional", "independent"):
            raise ValueError("model.prior")
        if not _SHA256.fullmatch(self.model_id):
            raise ValueError("model_id")
        if self.weights not in ("ema", "raw"):
            raise ValueError("weights")
        if not isinstance(self.precision, str):
            raise ValueError("precision")
        self._check_source()
        if self.golden_source not in (None, "data", "checkpoint", "samples"):
            raise ValueError("golden_source")
        if not isinstance(self.versions, dict):
            raise ValueError("versions")
        self._check_tensors()
        if not {ENCODER, DECODER} <= set(self.files):
            raise ValueError(f"files must list {ENCODER} and {DECODER}")
        if len({*PICTURE_GRAPHS} & {*self.files}) == 1:
            raise ValueError("files must list both graphs of 8-bit pictures, or none")
        if (GOLDEN in self.files) != (self.golden_source is not None):
            raise ValueError("golden_source")
        for name, digest in self.files.items():
            if name not in (ENCODER, DECODER, GOLDEN, *PICTURE_GRAPHS) or not _SHA256.fullmatch(digest):
                raise ValueError(f"files.{name}")

    def _check_tensors(self) -> None:
        latents = {f"z{level}": ("float32", shape) for level, shape in enumerate(self.latent_shapes, start=1)}
        normal, flag, switch = {}, {}, {}
        if self.precision == EXACT:
            normal = {name.replace("z", "normal"): spec for name, spec in latents.items()}
            flag, switch = {"in_range": ("float32", ())}, {"as_normal": ("float32", (1, 1, 1))}
        picture = {"x": ("float32", self.image_shape)}
        label = {} if self.num_classes is None else {"y": ("int64", ())}
        wanted: dict[tuple[str, str], dict[str, tuple[str, tuple[int, ...]]]] = {
            ("encoder", "inputs"): {**picture, **label},
            ("encoder", "outputs"): {**latents, **normal, "log_prob": ("float32", ()), **flag},
            ("decoder", "inputs"): {**latents, **switch, **label},
            ("decoder", "outputs"): {**picture, **flag},
        }
        for (role, side), specs in wanted.items():
            found = self.tensors[role][side]
            if {name: (spec["dtype"], tuple(spec["shape"])) for name, spec in found.items()} != specs:
                raise ValueError(f"tensors.{role}.{side} are not those of the model")

    def _check_source(self) -> None:
        if self.source is None:
            return
        if set(self.source) != {"project", "options"} or not isinstance(self.source["project"], str):
            raise ValueError("source")
        if not isinstance(self.source["options"], dict):
            raise ValueError("source.options")


def read_manifest_bytes(path: Path) -> bytes | None:
    """Return the bytes of a `manifest.json`, None if there is none.

    Raises:
        BundleError: it cannot be read, or is far too large.
    """
    if not path.exists():
        return None
    return read_regular(path, most=_LIMIT, error=BundleError)


def manifest_digest(path: Path, *, signed: SignedFiles | None = None) -> str | None:
    """The sha256 that the manifest beside `path` gives for it; None without an entry, or without a manifest of ours.

    Other tools name files of theirs `manifest.json` too; one with neither a format version nor files is taken as such.

    Args:
        path: the file.
        signed: of a signature that was checked, which must cover the manifest.

    Raises:
        BundleError: there is a manifest that is damaged or of another format version.
        SignatureError: the manifest is not what was signed.
    """
    source = path.parent / MANIFEST
    data = read_manifest_bytes(source)
    if data is None:
        return None
    if signed is not None:
        signed.check(source, data)
    try:
        content: Any = json.loads(data)
    except (ValueError, RecursionError):
        raise BundleError(f"{source} is not JSON: it is damaged; export the bundle again") from None
    if not isinstance(content, dict) or not {"format_version", "files"} <= set(content):
        return None
    return Manifest.from_bytes(data, source=str(source)).files.get(path.name)

"""The JSON file beside a plan (`decoder.trt.json`): what the plan is, so that it can be trusted and run alone."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from glow_deploy.errors import BundleError
from glow_deploy.protocol import TensorSpec

from .files import read_regular
from .flavors import Flavor
from .signed import SignedFiles

__all__ = ["Sidecar", "read_sidecar", "sidecar_path"]

_FORMAT_VERSION = 1
_MAX_BYTES = 2**20


@dataclass(frozen=True, kw_only=True)
class Sidecar:
    """Everything recorded about a plan when it was compiled.

    Attributes:
        sha256: of the plan, 64 hexadecimal digits.
        onnx_sha256: of the graph it was compiled from.
        flavor: `tensorrt` or `rtx`.
        version: of the TensorRT that compiled it.
        tf32: whether TF32 kernels were allowed.
        version_compatible: whether newer versions of TensorRT may run it.
        hardware_compatible: whether other GPUs of Ampere or newer may run it.
        profile: smallest, preferred and largest batch.
        gpus: compute capabilities it was compiled for (`sm89`).
        metadata: the graph's `glow_deploy.*` strings.
        inputs: without the batch dimension.
        outputs: without the batch dimension.
    """

    sha256: str
    onnx_sha256: str
    flavor: Flavor
    version: str
    tf32: bool
    version_compatible: bool
    hardware_compatible: bool
    profile: tuple[int, int, int]
    gpus: tuple[str, ...]
    metadata: Mapping[str, str]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def to_json(self) -> str:
        """The file's text; the same fields always give the same bytes."""
        content = {
            "format_version": _FORMAT_VERSION,
            "sha256": self.sha256,
            "onnx_sha256": self.onnx_sha256,
            "flavor": self.flavor,
            "tensorrt_version": self.version,
            "flags": {
                "tf32": self.tf32,
                "version_compatible": self.version_compatible,
                "hardware_compatible": self.hardware_compatible,
            },
            "profile": dict(zip(("min", "opt", "max"), self.profile, strict=True)),
            "gpus": list(self.gpus),
            "metadata": dict(self.metadata),
            "inputs": [_tensor_to_json(spec) for spec in self.inputs],
            "outputs": [_tensor_to_json(spec) for spec in self.outputs],
        }
        return json.dumps(content, indent=2, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, *, source: str) -> Sidecar:
        """Read the file's text.

        Raises:
            BundleError: not JSON, another format version, or a field is missing or of the wrong kind.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            raise BundleError(f"{source} is not JSON: it is damaged; compile again") from None
        if not isinstance(content, dict) or content.get("format_version") != _FORMAT_VERSION:
            raise BundleError(f"{source} is not a sidecar of this release: compile again")
        flavor = _field(content, "flavor", str, source)
        if flavor not in ("tensorrt", "rtx"):
            raise BundleError(f"{source}: flavor must be tensorrt or rtx, found {flavor[:40]!r}")
        flags = _field(content, "flags", dict, source)
        profile = _field(content, "profile", dict, source)
        metadata = _field(content, "metadata", dict, source)
        return cls(
            sha256=_field(content, "sha256", str, source),
            onnx_sha256=_field(content, "onnx_sha256", str, source),
            flavor=cast(Flavor, flavor),
            version=_field(content, "tensorrt_version", str, source),
            tf32=_field(flags, "tf32", bool, source),
            version_compatible=_field(flags, "version_compatible", bool, source),
            hardware_compatible=_field(flags, "hardware_compatible", bool, source),
            profile=(
                _field(profile, "min", int, source),
                _field(profile, "opt", int, source),
                _field(profile, "max", int, source),
            ),
            gpus=tuple(_items(content, "gpus", str, source)),
            metadata={str(key): str(value) for key, value in metadata.items()},
            inputs=tuple(_tensor_from_json(item, source) for item in _field(content, "inputs", list, source)),
            outputs=tuple(_tensor_from_json(item, source) for item in _field(content, "outputs", list, source)),
        )


def sidecar_path(plan: Path) -> Path:
    """`decoder.trt` -> `decoder.trt.json`."""
    return plan.with_name(plan.name + ".json")


def read_sidecar(plan: Path, *, signed: SignedFiles | None = None) -> Sidecar | None:
    """Read the sidecar of a plan; None if there is none.

    Args:
        plan: the plan's own path.
        signed: of a signature that was checked, which must cover the sidecar.

    Raises:
        BundleError: there is one that cannot be read.
        SignatureError: there is one that is not what was signed.
    """
    path = sidecar_path(plan)
    if not path.exists():
        return None
    try:
        data = read_regular(path, most=_MAX_BYTES, error=BundleError)
        if signed is not None:
            signed.check(path, data)
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{path} cannot be read: {error}") from None
    return Sidecar.from_json(text, source=str(path))


def _field(content: Mapping[str, Any], key: str, kind: type, source: str) -> Any:
    value = content.get(key)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise BundleError(f"{source}: {key} is missing or not a {kind.__name__}: it is damaged; compile again")
    return value


def _items(content: Mapping[str, Any], key: str, kind: type, source: str) -> list[Any]:
    values: list[Any] = _field(content, key, list, source)
    if not all(isinstance(value, kind) for value in values):
        raise BundleError(f"{source}: {key} holds something else than {kind.__name__}: it is damaged; compile again")
    return values


def _tensor_to_json(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "dtype": spec.dtype, "shape": list(spec.shape)}


def _tensor_from_json(item: Any, source: str) -> TensorSpec:
    if not isinstance(item, dict):
        raise BundleError(f"{source}: a tensor is not described by an object: it is damaged; compile again")
    return TensorSpec(
        name=_field(item, "name", str, source),
        dtype=_field(item, "dtype", str, source),
        shape=tuple(_items(item, "shape", int, source)),
    )

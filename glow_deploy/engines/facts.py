"""The `glow_deploy.*` metadata that travels with a graph or a plan, read back and checked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from glow_deploy.errors import BundleError

from .protocol import Role, TensorSpec

__all__ = ["PREFIX", "EngineFacts", "check_signature"]

PREFIX = "glow_deploy."
_FORMAT_VERSION = "1"


@dataclass(frozen=True, kw_only=True)
class EngineFacts:
    """What an engine file says about its model.

    Attributes:
        role: which direction the graph computes.
        n_bits: bit depth of the pixels, 1 to 8.
        channels: 1 or 3.
        image_size: (height, width) in pixels.
        levels: number of latents.
        precision: `fp32`, ...
        num_classes: None for an unconditional model.
        model_id: the same in the encoder and the decoder of one model.
    """

    role: Role
    n_bits: int
    channels: int
    image_size: tuple[int, int]
    levels: int
    precision: str
    num_classes: int | None
    model_id: str

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, str], *, source: str) -> EngineFacts:
        """Read the facts from the `glow_deploy.*` strings of a graph or sidecar.

        Raises:
            BundleError: a key is missing, malformed, or of a format version this release does not know.
        """

        def text(key: str) -> str:
            value = metadata.get(PREFIX + key)
            if not isinstance(value, str):
                raise BundleError(
                    f"{source} does not say its {PREFIX}{key}: it was not written by `glow-deploy export`."
                )
            return value

        def number(key: str, low: int, high: int) -> int:
            value = text(key)
            if not (value.isascii() and value.isdigit() and low <= int(value[:12]) <= high):
                raise BundleError(f"{source}: {PREFIX}{key} must be between {low} and {high}, found {value[:40]!r}.")
            return int(value)

        version = text("format_version")
        if version != _FORMAT_VERSION:
            raise BundleError(
                f"{source} has format version {version[:20]!r}, this release reads {_FORMAT_VERSION}: "
                "export the checkpoint again, or use the glow-deploy that wrote it."
            )
        role = text("role")
        if role not in ("encoder", "decoder"):
            raise BundleError(f"{source}: {PREFIX}role must be encoder or decoder, found {role[:40]!r}.")
        height, _, width = text("image_size").partition("x")
        if not all(side.isascii() and side.isdigit() and 0 < int(side[:9]) <= 65536 for side in (height, width)):
            raise BundleError(f"{source}: {PREFIX}image_size must look like 32x32 (height x width).")
        classes = metadata.get(PREFIX + "num_classes", "")
        return cls(
            role=cast(Role, role),
            n_bits=number("n_bits", 1, 8),
            channels=number("channels", 1, 1024),
            image_size=(int(height), int(width)),
            levels=number("levels", 1, 32),
            precision=text("precision"),
            num_classes=number("num_classes", 1, 10**9) if classes else None,
            model_id=text("model_id"),
        )


def check_signature(
    facts: EngineFacts, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, source: str
) -> None:
    """Check that tensors are those of an encoder or decoder of the model the facts describe.

    Raises:
        BundleError: names, dtypes or sizes do not agree with the facts.
    """
    latents = [f"z{level}" for level in range(1, facts.levels + 1)]
    label = [] if facts.num_classes is None else ["y"]
    signatures = {
        "encoder": (["x", *label], [*latents, "log_prob"]),
        "decoder": ([*latents, *label], ["x"]),
    }
    wanted = signatures[facts.role]
    found = ([spec.name for spec in inputs], [spec.name for spec in outputs])
    if [sorted(names) for names in found] != [sorted(names) for names in wanted]:
        raise BundleError(
            f"{source} calls itself a {facts.role} of {facts.levels} levels but maps {', '.join(found[0])} to "
            f"{', '.join(found[1])}: it is damaged or not a glow-deploy graph."
        )
    picture = (facts.channels, *facts.image_size)
    size = 0
    for spec in (*inputs, *outputs):
        dtype = "int64" if spec.name == "y" else "float32"
        wrong_shape = (spec.name == "x" and spec.shape != picture) or (
            spec.name in ("y", "log_prob") and spec.shape != ()
        )
        if spec.dtype != dtype or wrong_shape:
            raise BundleError(f"{source}: {spec.name} is {spec.dtype} {list(spec.shape)}, not what its metadata says.")
        if spec.name in latents:
            size += math.prod(spec.shape)
    if size != math.prod(picture):
        raise BundleError(f"{source}: the latents hold {size} numbers, the picture {math.prod(picture)}.")

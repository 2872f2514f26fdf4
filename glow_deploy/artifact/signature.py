"""The tensors of an engine, checked against what its metadata says about the model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from glow_deploy.errors import BundleError
from glow_deploy.protocol import TensorSpec

if TYPE_CHECKING:
    from .metadata import GraphMetadata

__all__ = ["check_signature", "tensor_names"]


def tensor_names(facts: GraphMetadata) -> tuple[list[str], list[str]]:
    """Names of the inputs and of the outputs, in the order of the exported graphs."""
    latents = [f"z{level}" for level in range(1, facts.levels + 1)]
    label = [] if facts.num_classes is None else ["y"]
    if facts.role == "encoder":
        return ["x", *label], [*latents, "log_prob"]
    return [*latents, *label], ["x"]


def check_signature(
    facts: GraphMetadata, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, source: str
) -> None:
    """Check that tensors are those of an encoder or decoder of the model the facts describe.

    Raises:
        BundleError: names, dtypes or sizes do not agree with the facts.
    """
    wanted = tensor_names(facts)
    latents = {f"z{level}" for level in range(1, facts.levels + 1)}
    found = ([spec.name for spec in inputs], [spec.name for spec in outputs])
    if [sorted(names) for names in found] != [sorted(names) for names in wanted]:
        raise BundleError(
            f"{source} calls itself a {facts.role} of {facts.levels} levels but maps {', '.join(found[0])} to "
            f"{', '.join(found[1])}: it is damaged or not a glow-deploy graph"
        )
    picture = (facts.channels, *facts.image_size)
    size = 0
    for spec in (*inputs, *outputs):
        dtype = "int64" if spec.name == "y" else "float32"
        wrong_shape = (spec.name == "x" and spec.shape != picture) or (
            spec.name in ("y", "log_prob") and spec.shape != ()
        )
        if spec.dtype != dtype or wrong_shape:
            raise BundleError(f"{source}: {spec.name} is {spec.dtype} {list(spec.shape)}, not what its metadata says")
        if spec.name in latents:
            size += math.prod(spec.shape)
    if size != math.prod(picture):
        raise BundleError(f"{source}: the latents hold {size} numbers, the picture {math.prod(picture)}")

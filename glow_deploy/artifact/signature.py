"""The tensors of an engine, checked against what its metadata says about the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from glow_deploy.errors import BundleError
from glow_deploy.protocol import TensorSpec

if TYPE_CHECKING:
    from .metadata import GraphMetadata

__all__ = ["EXACT", "check_signature", "tensor_names"]

EXACT = "exact"
"""The precision of graphs of integers, which have tensors of their own."""

_SHAPES: Mapping[str, tuple[int, ...]] = {"y": (), "log_prob": (), "in_range": (), "as_normal": (1, 1, 1)}


def tensor_names(facts: GraphMetadata) -> tuple[list[str], list[str]]:
    """Names of the inputs and of the outputs, in the order of the exported graphs."""
    latents = [f"z{level}" for level in range(1, facts.levels + 1)]
    label = [] if facts.num_classes is None else ["y"]
    if facts.precision == EXACT:
        normal = [f"normal{level}" for level in range(1, facts.levels + 1)]
        if facts.role == "encoder":
            return ["x", *label], [*latents, *normal, "log_prob", "in_range"]
        return [*latents, "as_normal", *label], ["x", "in_range"]
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
    sizes = {spec.name: spec.shape for spec in outputs}
    size = 0
    for spec in (*inputs, *outputs):
        dtype = "int64" if spec.name == "y" else "float32"
        due = picture if spec.name == "x" else _SHAPES.get(spec.name, spec.shape)
        if spec.name.startswith("normal"):
            due = sizes.get(spec.name.replace("normal", "z"), ())
        wrong_shape = spec.shape != due
        if spec.dtype != dtype or wrong_shape:
            raise BundleError(f"{source}: {spec.name} is {spec.dtype} {list(spec.shape)}, not what its metadata says")
        if spec.name in latents:
            size += math.prod(spec.shape)
    if size != math.prod(picture):
        raise BundleError(f"{source}: the latents hold {size} numbers, the picture {math.prod(picture)}")

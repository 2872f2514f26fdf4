"""What an engine file says about its model, checked against the tensors it really has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from glow_deploy.errors import BundleError

from .protocol import TensorSpec

if TYPE_CHECKING:
    from glow_deploy.graphs.metadata import GraphMetadata

__all__ = ["PREFIX", "check_signature", "read_facts", "tensor_names"]

PREFIX = "glow_deploy."


def read_facts(metadata: Mapping[str, str], *, source: str) -> GraphMetadata:
    """Read the `glow_deploy.*` strings of a graph or of a plan's sidecar.

    Raises:
        BundleError: one is missing, malformed or out of range, or of a format version this release does not know.
    """
    # Not at the top: graphs/ builds on this package's protocol.
    from glow_deploy.graphs.metadata import GraphMetadata

    facts = GraphMetadata.from_props(metadata, source=source)
    if not (1 <= facts.n_bits <= 8 and 1 <= facts.levels <= 32 and facts.channels >= 1 and min(facts.image_size) >= 1):
        raise BundleError(f"{source}: its glow_deploy metadata is damaged (a size or depth is out of range).")
    return facts


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

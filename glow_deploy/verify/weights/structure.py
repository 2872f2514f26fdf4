"""Whether a graph is the one that this version builds for the manifest's model, node by node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.artifact.manifest import Manifest
from glow_deploy.graphs.blank import blank_model, large_shapes
from glow_deploy.graphs.decoder import build_decoder
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder
from glow_deploy.graphs.graph import Graph
from glow_deploy.graphs.target import GraphTarget
from glow_deploy.verify.steps.weights import Weights

if TYPE_CHECKING:
    import onnx

    from glow_deploy.graphs.precision_plan import PrecisionPlan
    from glow_deploy.protocol import Role

__all__ = ["structure_difference"]


def structure_difference(
    model: onnx.ModelProto, weights: Weights, *, role: Role, manifest: Manifest, plan: PrecisionPlan | None
) -> str:
    """Say in which respect a graph is another than the one built for the manifest's model; empty for none.

    Compared are nodes with their names, attributes, inputs and outputs; the graph's own inputs and outputs; names,
    types and shapes of the weights; constants that are the same in every model; the operator set and the metadata.

    Args:
        model: the graph.
        weights: its initializers.
        role: `encoder` or `decoder`.
        manifest: of its bundle.
        plan: what runs in 16 bit; None for float32 throughout.
    """
    # One graph may hold an edge that the other lacks, and this one is what is looked at.
    held = {name: array.shape for name, array in weights.items()}
    for name, wanted in large_shapes(manifest.model, held=held):
        if name not in held:
            return f"it has no weight {name}"
        if held[name] != wanted:
            return f"{name} is {list(held[name])}, not {list(wanted)}"
    blank = blank_model(manifest.model, held=held)
    metadata = describe(blank, role=role, precision=manifest.precision, model_id=manifest.model_id)
    build = build_encoder if role == "encoder" else build_decoder
    expected = build(blank, metadata=metadata, plan=plan, target=None if _bfloat16(plan) else GraphTarget.of(model))
    return next(_differences(model, weights, expected), "")


def _bfloat16(plan: PrecisionPlan | None) -> bool:
    return plan is not None and "bf16" in plan.numbers


def _differences(model: onnx.ModelProto, weights: Weights, expected: Graph) -> Iterator[str]:
    skeleton = expected.skeleton
    for found, wanted in zip_longest(model.graph.node, skeleton.graph.node):
        if found is None:
            yield f"node {wanted.name!r} is missing"
        elif wanted is None:
            yield f"node {found.name!r} does not belong there"
        elif found != wanted:
            yield f"{_node(found)} stands where {_node(wanted)} is due"
    yield from _weights(model, weights, expected.weights)
    for what, given, due in (
        ("inputs", model.graph.input, skeleton.graph.input),
        ("outputs", model.graph.output, skeleton.graph.output),
    ):
        if list(given) != list(due):
            yield f"its {what} are {_names(given)}, not {_names(due)} as they are described"
    opsets = [{entry.domain or "ai.onnx": entry.version for entry in part.opset_import} for part in (model, skeleton)]
    if opsets[0] != opsets[1]:
        yield f"its operator set is {opsets[0]}, not {opsets[1]}"
    props = [{entry.key: entry.value for entry in part.metadata_props} for part in (model, skeleton)]
    for key, value in props[1].items():
        if props[0].get(key) != value:
            yield f"its {key} is {str(props[0].get(key))[:40]!r}, not {value[:40]!r} as in the manifest"


def _weights(model: onnx.ModelProto, weights: Weights, expected: Mapping[str, np.ndarray]) -> Iterator[str]:
    for name, wanted in expected.items():
        found = weights.get(name)
        if found is None:
            yield f"it has no weight {name}"
        elif (found.dtype, found.shape) != (wanted.dtype, wanted.shape):
            yield f"{name} is {found.dtype.name} {list(found.shape)}, not {wanted.dtype.name} {list(wanted.shape)}"
        elif name.startswith("constants/") and not np.array_equal(found, wanted):
            yield f"{name} is not the constant that it is in every model"
    if len(model.graph.initializer) != len(weights):
        yield "two of its weights have one name"
    for name in weights:
        if name not in expected:
            yield f"weight {name} does not belong there"


def _node(node: onnx.NodeProto) -> str:
    return f"{node.op_type} {node.name!r} of {', '.join(node.input)}"[:200]


def _names(values: object) -> str:
    return ", ".join(value.name for value in values)  # type: ignore[attr-defined]

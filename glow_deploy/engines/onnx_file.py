"""Reading an ONNX file as untrusted input: nothing is run, nothing outside the given bytes is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from glow_deploy.errors import BundleError

from .facts import PREFIX, check_signature, read_facts
from .protocol import TensorSpec

if TYPE_CHECKING:
    from glow_deploy.graphs.metadata import GraphMetadata

__all__ = ["GraphFile", "read_graph"]

_DOUBLE = 11  # onnx.TensorProto.DOUBLE


@dataclass(frozen=True, kw_only=True)
class GraphFile:
    """An ONNX graph that has been looked over.

    Attributes:
        facts: what its metadata says.
        metadata: the `glow_deploy.*` strings themselves.
        inputs: without the batch dimension.
        outputs: without the batch dimension.
    """

    facts: GraphMetadata
    metadata: dict[str, str]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


def read_graph(data: bytes, *, source: str) -> GraphFile:
    """Parse and check the bytes of an encoder or decoder graph.

    Args:
        data: the whole file.
        source: its name, for messages.

    Raises:
        BundleError: not ONNX, damaged, unsafe (external data, functions, foreign operators) or not ours.
    """
    # Not at the top: graphs/ builds on this package's protocol.
    from glow_deploy.graphs.lint import SIZE_LIMIT, parse_model

    if len(data) > SIZE_LIMIT:
        raise BundleError(f"{source} is larger than 2 GiB, which no ONNX file of this kind may be.")
    model = parse_model(data, source=source)
    for node in model.graph.node:
        if node.op_type == "Cast" and any(attribute.i == _DOUBLE for attribute in node.attribute):
            raise BundleError(f"{source}: node {node.name!r} casts to float64, which TensorRT would demote in silence.")
    metadata = {entry.key: entry.value for entry in model.metadata_props if entry.key.startswith(PREFIX)}
    facts = read_facts(metadata, source=source)
    inputs = tuple(_spec(value, source) for value in model.graph.input)
    outputs = tuple(_spec(value, source) for value in model.graph.output)
    check_signature(facts, inputs, outputs, source=source)
    return GraphFile(facts=facts, metadata=metadata, inputs=inputs, outputs=outputs)


def _spec(value: Any, source: str) -> TensorSpec:
    import onnx

    tensor = value.type.tensor_type
    dims = list(tensor.shape.dim)
    if not dims or not dims[0].dim_param or any(dim.dim_value <= 0 for dim in dims[1:]):
        raise BundleError(f"{source}: {value.name!r} must have a named batch dimension and fixed others.")
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    except (KeyError, ValueError):
        raise BundleError(f"{source}: {value.name!r} has an unknown element type {tensor.elem_type}.") from None
    return TensorSpec(name=value.name, dtype=str(dtype), shape=tuple(dim.dim_value for dim in dims[1:]))

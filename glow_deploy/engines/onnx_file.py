"""Reading an ONNX file as untrusted input: nothing is run, nothing outside the given bytes is opened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from glow_deploy.errors import BundleError

from .facts import PREFIX, EngineFacts, check_signature
from .protocol import TensorSpec

__all__ = ["MAX_BYTES", "GraphFile", "read_graph"]

MAX_BYTES = 2**31 - 1  # protobuf's own limit


@dataclass(frozen=True, kw_only=True)
class GraphFile:
    """An ONNX graph that has been looked over.

    Attributes:
        facts: what its metadata says.
        metadata: the `glow_deploy.*` strings themselves.
        inputs: without the batch dimension.
        outputs: without the batch dimension.
    """

    facts: EngineFacts
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
    if len(data) > MAX_BYTES:
        raise BundleError(f"{source} is larger than 2 GiB, which no ONNX file of this kind may be.")
    model = _parse(data, source)
    _lint(model, source)
    metadata = {entry.key: entry.value for entry in model.metadata_props if entry.key.startswith(PREFIX)}
    facts = EngineFacts.from_metadata(metadata, source=source)
    inputs = tuple(_spec(value, source) for value in model.graph.input)
    outputs = tuple(_spec(value, source) for value in model.graph.output)
    check_signature(facts, inputs, outputs, source=source)
    return GraphFile(facts=facts, metadata=metadata, inputs=inputs, outputs=outputs)


def _parse(data: bytes, source: str) -> Any:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise BundleError(f"{source} is not an ONNX file or is cut short: {error}") from None
    if not model.graph.node or not model.opset_import:
        raise BundleError(f"{source} is not an ONNX file: it holds no graph.")
    return model


def _lint(model: Any, source: str) -> None:
    """Refuse what could make a runtime open other files or run code that is not in ONNX itself."""
    if model.functions:
        raise BundleError(f"{source} defines functions of its own: only flat graphs are run.")
    if model.graph.sparse_initializer:
        raise BundleError(f"{source} holds sparse weights: only dense ones are read.")
    if any(opset.domain not in ("", "ai.onnx") for opset in model.opset_import):
        raise BundleError(f"{source} uses operators outside standard ONNX: refused.")
    tensors = list(model.graph.initializer)
    for node in model.graph.node:
        if node.domain not in ("", "ai.onnx"):
            raise BundleError(f"{source}: node {node.name!r} is of the foreign domain {node.domain!r}: refused.")
        for attribute in node.attribute:
            if attribute.HasField("g") or attribute.graphs:
                raise BundleError(f"{source}: node {node.name!r} holds a graph of its own: refused.")
            if attribute.HasField("t"):
                tensors.append(attribute.t)
            tensors.extend(attribute.tensors)
    for tensor in tensors:
        if tensor.external_data or tensor.data_location == tensor.EXTERNAL:
            raise BundleError(f"{source}: {tensor.name!r} lies in another file (external data): refused.")


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

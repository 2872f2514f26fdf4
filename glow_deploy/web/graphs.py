"""Both graphs of a bundle with the weights that they share in one file, so that a visitor loads them once.

The conditioners are the same in both directions, and nearly all of a Glow. ONNX calls such a file external data. The
graphs of a bundle never have any: these two are for the browser alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.artifact.lint import parse_model
from glow_deploy.artifact.manifest import DECODER, ENCODER
from glow_deploy.errors import BundleError

from .settings import WeightFormat

if TYPE_CHECKING:
    import onnx

__all__ = ["WEIGHTS", "WebGraphs", "rounded_pair", "web_graphs"]

WEIGHTS = "weights.bin"
_CONDITIONER = re.compile(r"(^|/)(coupling|split)/.*weight$")
_ALIGNED = 64  # bytes
_GROUP = 4  # channels
_LEAST = 1024  # values; what is smaller stays in the graphs


@dataclass(frozen=True, kw_only=True, repr=False)
class WebGraphs:
    """The bytes of `encoder.onnx`, `decoder.onnx` and `weights.bin`; the last is empty where nothing is shared."""

    encoder: bytes
    decoder: bytes
    weights: bytes


def web_graphs(encoder: bytes, decoder: bytes, *, weights: WeightFormat = "float32") -> WebGraphs:
    """Move what both graphs hold alike into one file, rounded to float16 where that is asked for.

    A rounded weight is cast to float32 in the graph, once, when the browser opens it. Weights that are no conditioner's
    are never rounded: the inverse of a rounded 1x1 convolution is not the rounded inverse.

    Args:
        encoder: the ONNX file.
        decoder: of the same model.
        weights: how the conditioners' float32 weights are stored.

    Raises:
        BundleError: a graph cannot be read, or a weight is too large for float16.
    """
    import onnx

    graphs = [parse_model(data, source=name) for name, data in ((ENCODER, encoder), (DECODER, decoder))]
    large = _shared(*graphs)
    for graph in graphs:
        _fill_channels(graph)
    first, second = ({tensor.name: tensor for tensor in graph.graph.initializer} for graph in graphs)
    store = bytearray()
    for name in large:
        tensor, twin = first[name], second[name]
        array = onnx.numpy_helper.to_array(tensor)
        narrow = weights == "float16" and _is_rounded(tensor)
        if narrow:
            array = _half(array, name)
        store += b"\0" * (-len(store) % _ALIGNED)
        data = array.tobytes()
        for graph, own in zip(graphs, (tensor, twin), strict=True):
            _point(own, array, offset=len(store), length=len(data))
            if narrow:
                _cast(graph, own)
        store += data
    encoded, decoded = (graph.SerializeToString(deterministic=True) for graph in graphs)
    return WebGraphs(encoder=encoded, decoder=decoded, weights=bytes(store))


def rounded_pair(encoder: bytes, decoder: bytes) -> tuple[bytes, bytes]:
    """Round what `web_graphs` rounds, and no more, and store it as float32: the same model without a second file.

    Args:
        encoder: the ONNX file.
        decoder: of the same model.

    Raises:
        BundleError: a graph cannot be read, or a weight is too large for float16.
    """
    import onnx

    graphs = [parse_model(data, source=name) for name, data in ((ENCODER, encoder), (DECODER, decoder))]
    shared = frozenset(_shared(*graphs))
    for graph in graphs:
        for tensor in graph.graph.initializer:
            if tensor.name in shared and _is_rounded(tensor):
                half = _half(onnx.numpy_helper.to_array(tensor), tensor.name)
                tensor.CopyFrom(onnx.numpy_helper.from_array(half.astype(np.float32), tensor.name))
    first, second = (bytes(graph.SerializeToString(deterministic=True)) for graph in graphs)
    return first, second


def _shared(encoder: onnx.ModelProto, decoder: onnx.ModelProto) -> list[str]:
    """Names of the large tensors that both graphs hold alike, in the encoder's order."""
    twins = {tensor.name: tensor for tensor in decoder.graph.initializer}
    return [
        tensor.name
        for tensor in encoder.graph.initializer
        if np.prod(tensor.dims) >= _LEAST
        and tensor.name in twins
        and tensor.SerializeToString() == twins[tensor.name].SerializeToString()
    ]


def _is_rounded(tensor: onnx.TensorProto) -> bool:
    import onnx

    return tensor.data_type == onnx.TensorProto.FLOAT and _CONDITIONER.search(tensor.name) is not None


def _fill_channels(model: onnx.ModelProto) -> None:
    """Give convolutions that look at neighbours a multiple of 4 input channels, the new ones zero with zero weights.

    onnxruntime-web 1.30.0 computes a 3x3 convolution of 6 channels wrong on WebGPU, and the first level of every RGB
    model has some (microsoft/onnxruntime, issue 29651; measured: 1, 2, 3, 4, 8, 12, 24 and 64 channels are right). The
    sums are the same ones and some zeros, so that nothing else changes.
    """
    import onnx

    graph = model.graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    filled: set[str] = set()
    for node in graph.node:
        weight = tensors.get(node.input[1]) if node.op_type == "Conv" else None
        if weight is not None and weight.dims[2:] != [1, 1] and weight.dims[1] > _GROUP and weight.dims[1] % _GROUP:
            array = onnx.numpy_helper.to_array(weight)
            more = -array.shape[1] % _GROUP
            pads = f"constants/fill{more}"
            if pads not in tensors:
                sides = np.array([0, 0, 0, 0, 0, more, 0, 0], np.int64)
                tensors[pads] = graph.initializer.add()
                tensors[pads].CopyFrom(onnx.numpy_helper.from_array(sides, pads))
            if weight.name not in filled:
                filled.add(weight.name)
                wide = np.pad(array, ((0, 0), (0, more), (0, 0), (0, 0)))
                weight.CopyFrom(onnx.numpy_helper.from_array(wide, weight.name))
            wider = f"{node.name}/filled"
            nodes.append(onnx.helper.make_node("Pad", [node.input[0], pads], [wider], name=f"{node.name}/fill"))
            node.input[0] = wider
        nodes.append(node)
    if filled:
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)


def _half(array: np.ndarray, name: str) -> np.ndarray:
    with np.errstate(over="ignore"):
        half = array.astype(np.float16)
    if not np.isfinite(half).all():
        raise BundleError(f"{name} holds weights beyond the range of float16; make the site with weights=float32")
    return half


def _point(tensor: onnx.TensorProto, array: np.ndarray, *, offset: int, length: int) -> None:
    """Let a tensor say where its values lie, instead of holding them."""
    import onnx

    for field in ("raw_data", "float_data", "int32_data", "int64_data"):
        tensor.ClearField(field)
    tensor.data_type = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    places: Mapping[str, object] = {"location": WEIGHTS, "offset": offset, "length": length}
    for key, value in places.items():
        tensor.external_data.add(key=key, value=str(value))


def _cast(model: onnx.ModelProto, tensor: onnx.TensorProto) -> None:
    """Put a cast to float32 between a tensor and whoever reads it, under the name that they know."""
    import onnx

    name, tensor.name = tensor.name, f"{tensor.name}/float16"
    node = onnx.helper.make_node("Cast", [tensor.name], [name], name=f"{name}/cast", to=onnx.TensorProto.FLOAT)
    model.graph.node.insert(0, node)

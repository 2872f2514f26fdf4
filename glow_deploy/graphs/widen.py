"""From a graph with 16-bit parts to the float32 graph of the same, already rounded, weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

import numpy as np

from glow_deploy.artifact.metadata import PREFIX
from glow_deploy.errors import BundleError

from .precision_plan import ElementType
from .target import OPSET

if TYPE_CHECKING:
    import onnx

__all__ = ["held_numbers", "set_precision", "widened"]

_CONV1 = re.compile(r"(level(\d+)/step(\d+))/coupling/conv1/weight")


def held_numbers(model: onnx.ModelProto, *, source: str = "the graph") -> tuple[ElementType, dict[str, ElementType]]:
    """Read from the types of its weights what a graph holds in which number.

    Args:
        model: an encoder or a decoder.
        source: its name, for messages.

    Returns:
        The trunk's number, and step path -> its conditioner's, in encoding order.

    Raises:
        BundleError: the weights of a Glow's steps are not in it, or are of some other type.
    """
    from onnx import TensorProto

    known: dict[int, ElementType] = {
        TensorProto.FLOAT: "fp32",
        TensorProto.FLOAT16: "fp16",
        TensorProto.BFLOAT16: "bf16",
    }
    types = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    steps = [found for name in types if (found := _CONV1.fullmatch(name))]
    paths = [found.group(1) for found in sorted(steps, key=lambda found: (int(found.group(2)), int(found.group(3))))]
    first = "level1/step01/invconv/weight"
    if not paths or first not in types:
        raise BundleError(f"{source}: holds no steps of flow with the names that this tool gives them")
    numbers = {path: known.get(types[f"{path}/coupling/conv1/weight"]) for path in paths}
    trunk = known.get(types[first])
    if trunk is None or None in numbers.values():
        raise BundleError(f"{source}: a weight is neither float32 nor float16 nor bfloat16")
    return trunk, cast(dict[str, ElementType], numbers)


def widened(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a float32 copy of a graph: its casts left out, its weights widened, which changes none of their values."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    for tensor in graph.initializer:
        if tensor.data_type in (TensorProto.FLOAT16, TensorProto.BFLOAT16):
            wide = numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))
    outputs = {value.name for value in graph.output}
    casts = [node for node in graph.node if node.op_type == "Cast"]
    renamed = {node.output[0]: node.input[0] for node in casts if node.output[0] not in outputs}
    # A graph's output keeps its name, so there the producer of what was cast takes that name over.
    renamed |= {node.input[0]: node.output[0] for node in casts if node.output[0] in outputs}
    nodes = [node for node in graph.node if node.op_type != "Cast"]
    for node in nodes:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    opset = min(OPSET, result.opset_import[0].version)
    del result.opset_import[:]
    result.opset_import.append(helper.make_opsetid("", opset))
    return result


def set_precision(model: onnx.ModelProto, precision: str) -> None:
    """Change what a graph says about its precision, in place."""
    for entry in model.metadata_props:
        if entry.key == f"{PREFIX}precision":
            entry.value = precision

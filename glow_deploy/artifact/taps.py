"""Looking inside a graph: a copy that gives inner tensors as outputs too."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from glow_deploy.errors import UsageError

if TYPE_CHECKING:
    import onnx

__all__ = ["constant_tensors", "with_outputs"]


def constant_tensors(model: onnx.ModelProto) -> frozenset[str]:
    """Tensors that nodes compute from weights alone, such as an edge spread over the image: they have no batch."""
    constant = {tensor.name for tensor in model.graph.initializer}
    found: set[str] = set()
    for node in model.graph.node:
        if constant.issuperset(node.input):
            found.update(node.output)
            constant.update(node.output)
    return frozenset(found)


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """Return a copy of a graph with further tensors as outputs, after those it has, in the order given.

    The copy computes what the graph computes, but an optimiser can no longer fuse across the tensors shown: compare it
    with the graph itself where the last bit matters.

    Args:
        model: an encoder or a decoder; it is left as it is.
        names: of tensors that nodes give, `level1/step01/out`. One that is an output already stays where it is.

    Raises:
        UsageError: no node of the graph gives a tensor of that name.
    """
    import onnx

    result = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    graph = result.graph
    known = {value.name: value for value in graph.value_info}
    present = {value.name for value in graph.output}
    for name in dict.fromkeys(names):
        if name in present:
            continue
        if name not in known:
            raise UsageError(f"no node of {graph.name or 'the graph'} gives a tensor named {name!r}")
        graph.output.append(known[name])
    # Only the outputs were asked for; a file with its inner shapes written down has other bytes for no reason.
    del graph.value_info[:]
    graph.value_info.extend(model.graph.value_info)
    return result

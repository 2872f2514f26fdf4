"""Reading an ONNX file as untrusted input: nothing is run, nothing outside the given bytes is opened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from glow_deploy.errors import BundleError
from glow_deploy.printable import shown
from glow_deploy.protocol import TensorSpec

from .graph_sizes import GraphSizes
from .limits import MOST_RUN_VALUES
from .lint import lint_model, load_model
from .metadata import PREFIX, GraphMetadata
from .signature import check_signature

if TYPE_CHECKING:
    import onnx

__all__ = ["GraphFile", "describe_graph", "parse_graph", "read_graph"]


@dataclass(frozen=True, kw_only=True)
class GraphFile:
    """An ONNX graph that has been looked over.

    Attributes:
        facts: what its metadata says.
        metadata: the `glow_deploy.*` strings themselves.
        inputs: without the batch dimension.
        outputs: without the batch dimension.
        work: multiplications for one image; 0 where they were not counted.
        live: values that are needed at one moment for one image; 0 where they were not counted.
    """

    facts: GraphMetadata
    metadata: dict[str, str]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    work: int = 0
    live: int = 0

    @property
    def most_rows(self) -> int | None:
        """Images that may be run at once, so that no batch takes more memory than one image may; None: not counted."""
        return max(1, MOST_RUN_VALUES // self.live) if self.live else None


def read_graph(data: bytes, *, source: str) -> GraphFile:
    """Parse and check the bytes of an encoder or decoder graph.

    Args:
        data: the whole file.
        source: its name, for messages.

    Raises:
        BundleError: not ONNX, damaged, unsafe (external data, functions, foreign operators) or not ours.
    """
    return parse_graph(data, source=source)[1]


def parse_graph(data: bytes, *, source: str) -> tuple[onnx.ModelProto, GraphFile]:
    """Do what `read_graph` does, and return the parsed graph too."""
    model = load_model(data, source=source)
    sizes = lint_model(model, source=source)
    graph = describe_graph(model, source=source)
    _check_class_tables(model, sizes, graph.facts, source)
    return model, replace(graph, work=sizes.work, live=sizes.live)


def describe_graph(model: onnx.ModelProto, *, source: str) -> GraphFile:
    """Read what a graph says about itself; its weights are not looked at.

    Args:
        model: linted before, or built by us.
        source: its name, for messages.

    Raises:
        BundleError: not one of our graphs.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props if entry.key.startswith(PREFIX)}
    facts = GraphMetadata.from_props(metadata, source=source)
    inputs = tuple(_spec(value, source) for value in model.graph.input)
    outputs = tuple(_spec(value, source) for value in model.graph.output)
    check_signature(facts, inputs, outputs, source=source)
    return GraphFile(facts=facts, metadata=metadata, inputs=inputs, outputs=outputs)


def _check_class_tables(model: onnx.ModelProto, sizes: GraphSizes, facts: GraphMetadata, source: str) -> None:
    """Refuse class tables of another length than the metadata says: labels are checked against the metadata alone.

    A table is whatever the labels of a batch look up in, stored or computed from what is stored.
    """
    for node in model.graph.node:
        if node.op_type != "Gather" or not sizes.tensors[node.input[1]].batched:
            continue
        rows = sizes.tensors[node.input[0]].dims[0]
        if rows != facts.num_classes:
            raise BundleError(
                f"{source}: {shown(node.input[0])} is for {rows} classes, its metadata says {facts.num_classes}: it is "
                "damaged or not a glow-deploy graph"
            )


def _spec(value: Any, source: str) -> TensorSpec:
    import onnx

    tensor = value.type.tensor_type
    dims = list(tensor.shape.dim)
    if not dims or not dims[0].dim_param or any(dim.dim_value <= 0 for dim in dims[1:]):
        raise BundleError(f"{source}: {value.name!r} must have a named batch dimension and fixed others")
    try:
        dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    except (KeyError, ValueError):
        raise BundleError(f"{source}: {value.name!r} has an unknown element type {tensor.elem_type}") from None
    return TensorSpec(name=value.name, dtype=str(dtype), shape=tuple(dim.dim_value for dim in dims[1:]))

"""Building both graphs of a model and writing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from glow_deploy.artifact.manifest import DECODER, ENCODER, PICTURE_GRAPHS
from glow_deploy.engines.device import Device
from glow_deploy.protocol import Engine, Role

if TYPE_CHECKING:
    from glow_deploy.artifact.bundle_writer import BundleWriter
    from glow_deploy.artifact.graph_file import GraphFile
    from glow_deploy.folding import FoldedGlow
    from glow_deploy.graphs.graph import Graph
    from glow_deploy.graphs.precision_plan import PrecisionPlan
    from glow_deploy.graphs.target import GraphTarget

    from .settings import Io

__all__ = ["WrittenGraph", "build_graphs", "write_one"]


@dataclass(frozen=True, kw_only=True)
class WrittenGraph:
    """A graph on disk.

    Attributes:
        path: of the file, not yet in its final place.
        facts: what it says about itself.
        digests: sha256 of the nodes and of the weights of each part of the model, as the graph was built.
    """

    path: Path
    facts: GraphFile
    digests: Mapping[str, str]

    def open(self) -> Engine:
        """Load the very file that was written into ONNX Runtime on the CPU."""
        from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine

        return OnnxRuntimeEngine(self.path, graph=self.facts, device=Device("cpu"), source=self.path.name)


def build_graphs(
    folded: FoldedGlow,
    plan: PrecisionPlan | None,
    target: GraphTarget,
    writer: BundleWriter,
    *,
    io: Io = "float32",
) -> Mapping[Role, WrittenGraph]:
    """Build and write; none of it needs torch, so it can go on beside the float64 model.

    Args:
        folded: the model.
        plan: what runs in 16 bit; None for float32 throughout.
        target: what the graphs are written in.
        writer: of the bundle.
        io: `uint8` or `uint8-nhwc` writes graphs of 8-bit pictures besides.

    Raises:
        UsageError: a graph would not fit in one ONNX file, or cannot be written; or a weight is beyond the largest
            value of its number.
    """
    from glow_deploy.graphs.decoder import build_decoder
    from glow_deploy.graphs.describe import describe
    from glow_deploy.graphs.encoder import build_encoder
    from glow_deploy.graphs.pictures import picture_graph

    model_id = folded.model_id()
    precision = "fp32" if plan is None else plan.name
    written: dict[Role, WrittenGraph] = {}
    roles: tuple[Role, ...] = ("encoder", "decoder")
    for role, name, build in zip(roles, (ENCODER, DECODER), (build_encoder, build_decoder), strict=True):
        facts = describe(folded, role=role, precision=precision, model_id=model_id)
        graph = build(folded, metadata=facts, plan=plan, target=target)
        written[role] = write_one(graph, name, writer)
        if io != "float32":
            pictures = picture_graph(graph.to_model(), io)
            writer.write(PICTURE_GRAPHS[roles.index(role)], pictures.SerializeToString(deterministic=True))
    return written


def write_one(graph: Graph, name: str, writer: BundleWriter) -> WrittenGraph:
    """Write a graph under a name.

    Raises:
        UsageError: it would not fit in one ONNX file, or cannot be written.
    """
    from glow_deploy.artifact.graph_file import describe_graph
    from glow_deploy.artifact.weights import graph_digests
    from glow_deploy.graphs.serialize import write_graph

    with writer.errors():
        writer.add(name, write_graph(graph, writer.place(name)))
    return WrittenGraph(
        path=writer.place(name),
        facts=describe_graph(graph.skeleton, source=name),
        digests=graph_digests(graph.skeleton, graph.weights),
    )

"""The exact encoder graph: x -> z1 ... zL, integers; the same as standard normal numbers; log_prob; in_range."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from glow_deploy.artifact.metadata import GraphMetadata
from glow_deploy.folding.arrays import step_path
from glow_deploy.graphs.builder import GraphBuilder
from glow_deploy.graphs.graph import Graph
from glow_deploy.graphs.target import GraphTarget

from .arrays import ExactGlow, ExactLevel, ExactPrior
from .nodes import ExactNodes
from .props import exact_props

__all__ = ["build_exact_encoder"]


def build_exact_encoder(
    model: ExactGlow, *, metadata: GraphMetadata, native: bool = False, target: GraphTarget | None = None
) -> Graph:
    """Build the encoder.

    Inputs: `x` [batch,C,H,W] float32 in [0,1), and `y` [batch] int64 for class-conditional models. Outputs, float32:
    `z1` ... `zL`, integers; `normal1` ... `normalL`, what they are as standard normal numbers; `log_prob` [batch] in
    nats; and `in_range` [batch], 1 where every integer of the way is proven exact, 0 elsewhere.

    Args:
        model: the integers.
        metadata: stored in the graph.
        native: type the conditioners' hidden convolutions in the 16-bit number that their sums are rounded to.
        target: what the graph is written in; None for the newest that we write.

    Raises:
        UsageError: the target's operator set has no bfloat16 convolution, and the graph is to have some.
    """
    return _Encoder(model, native=native, target=target).build(metadata)


class _Encoder:
    def __init__(self, model: ExactGlow, *, native: bool, target: GraphTarget | None) -> None:
        self._model, self._native = model, native
        bfloat16 = native and model.narrow == "bf16"
        self._graph = GraphBuilder("glow_encoder", target=target, bfloat16=bfloat16)
        self._nodes = ExactNodes(model, self._graph, native=native)
        self._constant = model.log_volume() - 0.5 * model.dims * math.log(2 * math.pi)
        self._terms: list[str] = []

    def build(self, metadata: GraphMetadata) -> Graph:
        graph, nodes, model = self._graph, self._nodes, self._model
        x = graph.input("x", model.image_shape)
        if model.num_classes is not None:
            nodes.labels(graph.input("y", (), dtype=TensorProto.INT64))
        fine = graph.node("Mul", [x, nodes.scalar(2.0**model.grid_bits)], name="x/scale")
        fine = graph.node("Floor", [fine], name="x/floor")
        q = graph.node("Sub", [fine, nodes.scalar(2.0 ** (model.grid_bits - 1))], name="x/centre")
        nodes.check(q, path="x")
        for index, level in enumerate(model.levels, start=1):
            q = graph.node("SpaceToDepth", [q], name=f"level{index}/squeeze", blocksize=2)
            q = self._level(q, level, index)
        for index, shape in enumerate(model.latent_shapes, start=1):
            graph.output(f"z{index}", shape)
        for index, shape in enumerate(model.latent_shapes, start=1):
            graph.output(f"normal{index}", shape)
        self._log_prob()
        graph.output("log_prob", ())
        nodes.in_range()
        return graph.build(metadata.to_props() | exact_props(model, native=self._native))

    def _level(self, q: str, level: ExactLevel, index: int) -> str:
        graph, nodes, size = self._graph, self._nodes, level.shape[1:]
        first, second = graph.halves(q, name=f"level{index}/halves")
        for number, step in enumerate(level.steps, start=1):
            path = step_path(index, number)
            for count, shear in enumerate(step.shears, start=1):
                first, second = nodes.shear(first, second, shear, path=f"{path}/invconv/shear{count}", inverse=False)
            second = nodes.couple(first, second, step.conditioner, path=path, size=size, inverse=False)
            nodes.check(first, second, path=path)
        prior = self._model.prior if level.split is None else level.split
        latent, path = second, f"level{index}/split"
        if level.split is None:
            latent, path = graph.node("Concat", [first, second], name=f"level{index}/concat", axis=1), "prior"
        spacing = level.steps[-1].spacing
        mean, unit, log_scale = nodes.distribution(prior, first, spacing=spacing, path=path, size=size, inverse=False)
        if (level.sign < 0).any():
            sign = graph.constant(f"{path}/sign", level.sign[None, :, None, None].astype(np.float64))
            latent = graph.node("Mul", [latent, sign], name=f"{path}/flip")
        z = graph.node("Sub", [latent, mean], name=f"{path}/centre", output=f"z{index}")
        normal = graph.node("Mul", [z, unit], name=f"{path}/normalise", output=f"normal{index}")
        self._density(normal, path)
        if log_scale is not None:
            self._terms.append(self._scaled_sum(log_scale, -1.0, name=f"{path}/log_det"))
        elif isinstance(prior, ExactPrior):
            self._constant_scale(prior, size, path)
        return first

    def _density(self, normal: str, path: str) -> None:
        square = self._graph.node("Mul", [normal, normal], name=f"{path}/log_prob/square")
        self._terms.append(self._scaled_sum(square, -0.5, name=f"{path}/log_prob"))

    def _constant_scale(self, prior: ExactPrior, size: tuple[int, int], path: str) -> None:
        """Count the log-scales of a prior of constants, each for all the positions that it stands for."""
        positions = size[0] * size[1] // (prior.log_scale.shape[2] * prior.log_scale.shape[3])
        log_det = -prior.log_scale.sum(axis=(1, 2, 3)) * positions
        if self._model.num_classes is None:
            self._constant += float(log_det[0])
        else:
            self._terms.append(self._nodes.of_class(self._graph.constant(f"{path}/log_det", log_det)))

    def _log_prob(self) -> None:
        graph = self._graph
        total = graph.constant("log_prob/constant", np.array([self._constant]))
        for number, term in enumerate(self._terms, start=1):
            output = "log_prob" if number == len(self._terms) else None
            total = graph.node("Add", [total, term], name=f"log_prob/add{number}", output=output)

    def _scaled_sum(self, tensor: str, factor: float, *, name: str) -> str:
        graph = self._graph
        axes = graph.constant("constants/axes", np.array([1, 2, 3], dtype=np.int64))
        total = graph.node("ReduceSum", [tensor, axes], name=f"{name}/sum", keepdims=0)
        held = graph.constant(f"constants/factor/{factor:g}", np.array([factor]))
        return graph.node("Mul", [total, held], name=name)

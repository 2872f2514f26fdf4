"""The exact decoder graph: z1 ... zL, integers or standard normal numbers -> x; in_range."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto

from glow_deploy.artifact.metadata import GraphMetadata
from glow_deploy.folding.arrays import step_path
from glow_deploy.graphs.builder import GraphBuilder
from glow_deploy.graphs.graph import Graph
from glow_deploy.graphs.target import GraphTarget

from .arrays import ExactGlow, ExactLevel
from .nodes import ExactNodes
from .props import exact_props

__all__ = ["build_exact_decoder"]


def build_exact_decoder(
    model: ExactGlow, *, metadata: GraphMetadata, native: bool = False, target: GraphTarget | None = None
) -> Graph:
    """Build the decoder.

    Inputs, float32: `z1` ... `zL`, and `as_normal` [batch,1,1,1]: 0 where they are integers, as the encoder gives them;
    1 where they are standard normal numbers, which are rounded to the grid; with any other a row is not in range. `y`
    [batch] int64 for class-conditional models. Outputs, float32: `x` [batch,C,H,W], not clamped, and `in_range`
    [batch].

    Args:
        model: the integers.
        metadata: stored in the graph.
        native: type the conditioners' hidden convolutions in the 16-bit number that their sums are rounded to.
        target: what the graph is written in; None for the newest that we write.

    Raises:
        UsageError: the target's operator set has no bfloat16 convolution, and the graph is to have some.
    """
    return _Decoder(model, native=native, target=target).build(metadata)


class _Decoder:
    def __init__(self, model: ExactGlow, *, native: bool, target: GraphTarget | None) -> None:
        self._model, self._native = model, native
        bfloat16 = native and model.narrow == "bf16"
        self._graph = GraphBuilder("glow_decoder", target=target, bfloat16=bfloat16)
        self._nodes = ExactNodes(model, self._graph, native=native)

    def build(self, metadata: GraphMetadata) -> Graph:
        graph, nodes, model = self._graph, self._nodes, self._model
        latents = [graph.input(f"z{index}", shape) for index, shape in enumerate(model.latent_shapes, start=1)]
        switch = graph.input("as_normal", (1, 1, 1))
        if model.num_classes is not None:
            nodes.labels(graph.input("y", (), dtype=TensorProto.INT64))
        integer = graph.node("Sub", [nodes.scalar(1.0), switch], name="as_normal/not")
        # Anything but 0 and 1 is no way to read latents.
        either = graph.node("Mul", [switch, integer], name="as_normal/either")
        nodes.check(either, path="as_normal", limit=nodes.scalar(0.0))
        q = ""
        for index, level in reversed(list(enumerate(model.levels, start=1))):
            q = self._level(q, latents[index - 1], level, index, switch, integer)
            # Mode DCR undoes SpaceToDepth.
            q = graph.node("DepthToSpace", [q], name=f"level{index}/unsqueeze", blocksize=2, mode="DCR")
        nodes.check(q, path="x")
        fine = graph.node("Add", [q, nodes.scalar(2.0 ** (model.grid_bits - 1))], name="x/centre")
        graph.node("Mul", [fine, nodes.scalar(2.0**-model.grid_bits)], name="x/scale", output="x")
        graph.output("x", model.image_shape)
        nodes.in_range()
        return graph.build(metadata.to_props() | exact_props(model, native=self._native))

    def _level(self, kept: str, z: str, level: ExactLevel, index: int, switch: str, integer: str) -> str:
        graph, nodes, size = self._graph, self._nodes, level.shape[1:]
        prior = self._model.prior if level.split is None else level.split
        path = "prior" if level.split is None else f"level{index}/split"
        spacing = level.steps[-1].spacing
        mean, unit, _ = nodes.distribution(prior, kept, spacing=spacing, path=path, size=size, inverse=True)
        unit = graph.node("Mul", [unit, switch], name=f"{path}/per_unit/normal")
        unit = graph.node("Add", [unit, integer], name=f"{path}/per_unit/either")
        given = graph.node("Mul", [z, unit], name=f"{path}/given")
        rounded = graph.node("Round", [given], name=f"{path}/round")
        emitted = graph.node("Add", [rounded, mean], name=f"{path}/shift")
        if (level.sign < 0).any():
            sign = graph.constant(f"{path}/sign", level.sign[None, :, None, None].astype(np.float64))
            emitted = graph.node("Mul", [emitted, sign], name=f"{path}/flip")
        first, second = (
            (kept, emitted) if level.split is not None else graph.halves(emitted, name=f"level{index}/halves")
        )
        for number, step in reversed(list(enumerate(level.steps, start=1))):
            path = step_path(index, number)
            nodes.check(first, second, path=path)
            second = nodes.couple(first, second, step.conditioner, path=path, size=size, inverse=True)
            for count, shear in reversed(list(enumerate(step.shears, start=1))):
                first, second = nodes.shear(first, second, shear, path=f"{path}/invconv/shear{count}", inverse=True)
        return graph.node("Concat", [first, second], name=f"level{index}/concat", axis=1)

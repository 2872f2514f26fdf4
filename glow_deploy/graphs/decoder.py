"""The decoder graph: z1 ... zL -> x."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import TensorProto

from glow_deploy.artifact.metadata import GraphMetadata
from glow_deploy.folding import FoldedConv, FoldedGlow, FoldedPrior, FoldedStep
from glow_deploy.folding.arrays import step_path

from .builder import GraphBuilder
from .graph import Graph
from .parts import check_plan, conditioner, edged_conv, negate_second_half
from .precision_plan import PrecisionPlan
from .target import GraphTarget

__all__ = ["build_decoder"]


def build_decoder(
    folded: FoldedGlow,
    *,
    metadata: GraphMetadata,
    plan: PrecisionPlan | None = None,
    target: GraphTarget | None = None,
) -> Graph:
    """Build the decoder.

    Inputs: `z1` ... `zL` float32, standard normal at temperature 1, and `y` [batch] int64 for class-conditional models.
    Output: `x` [batch,C,H,W] float32, not clamped.

    Args:
        folded: the model.
        metadata: stored in the graph; its precision is the plan's name.
        plan: what runs in 16 bit; None is float32 throughout.
        target: what it is written in; None for the newest that we write.

    Raises:
        UsageError: the plan is for another model or needs a newer operator set, or a weight is beyond the largest value
            of its number.
    """
    check_plan(folded, metadata, plan)
    return _Decoder(folded, plan, target).build(metadata)


class _Decoder:
    def __init__(self, folded: FoldedGlow, plan: PrecisionPlan | None, target: GraphTarget | None) -> None:
        self._model = folded
        self._graph = GraphBuilder("glow_decoder", plan=plan, target=target)

    def build(self, metadata: GraphMetadata) -> Graph:
        graph, model = self._graph, self._model
        narrow = graph.trunk != "fp32"
        latents = [graph.input(f"z{index}", shape) for index, shape in enumerate(model.latent_shapes, start=1)]
        if narrow:
            latents = [graph.cast(z, graph.trunk, name=f"{z}/cast_in") for z in latents]
        labels = None if model.num_classes is None else graph.input("y", (), dtype=TensorProto.INT64)
        h = self._prior(latents[-1], model.prior, labels, path="prior")
        for index, level in reversed(list(enumerate(model.levels, start=1))):
            if level.split is not None:
                emitted = self._emitted(h, latents[index - 1], level.split, index, level.shape[1:], labels)
                h = graph.node("Concat", [h, emitted], name=f"level{index}/split/concat", axis=1)
            for number, step in reversed(list(enumerate(level.steps, start=1))):
                h = self._step(h, step, step_path(index, number), level.shape[1:])
            output = "x" if index == 1 and not narrow else None
            # Mode CRD is pixel_shuffle: channel 4c+2i+j goes to offset (i,j) of channel c.
            h = graph.node("DepthToSpace", [h], name=f"level{index}/unsqueeze", output=output, blocksize=2, mode="CRD")
        if narrow:
            graph.cast(h, "fp32", name="x/cast_out", output="x")
        graph.output("x", model.image_shape)
        return graph.build(metadata.to_props())

    def _prior(self, z: str, prior: FoldedPrior, labels: str | None, *, path: str) -> str:
        """Scale and shift by constants, or by entries of a table with one for each class."""
        graph = self._graph
        mean = graph.constant(f"{path}/mean", prior.mean)
        scale = graph.constant(f"{path}/scale", np.exp(prior.log_scale))
        if labels is not None:
            mean = graph.node("Gather", [mean, labels], name=f"{path}/mean/gather", axis=0)
            scale = graph.node("Gather", [scale, labels], name=f"{path}/scale/gather", axis=0)
        return self._stretch(z, scale, mean, path)

    def _emitted(
        self, h: str, z: str, split: FoldedConv | FoldedPrior, index: int, size: tuple[int, int], labels: str | None
    ) -> str:
        """Return the half that left at a split, from its latent and the half that stayed."""
        graph, path = self._graph, f"level{index}/split"
        if isinstance(split, FoldedPrior):
            return self._prior(z, split, labels, path=path)
        params = edged_conv(graph, h, split, name=f"{path}/conv", size=size)
        mean, log_scale = graph.halves(params, name=f"{path}/params")
        return self._stretch(z, graph.node("Exp", [log_scale], name=f"{path}/exp"), mean, path)

    def _stretch(self, z: str, scale: str, mean: str, path: str) -> str:
        scaled = self._graph.node("Mul", [z, scale], name=f"{path}/apply")
        return self._graph.node("Add", [scaled, mean], name=f"{path}/shift")

    def _step(self, h: str, step: FoldedStep, path: str, size: tuple[int, int]) -> str:
        graph, net = self._graph, step.conditioner
        kept, moved = graph.halves(h, name=f"{path}/coupling/split")
        if self._model.coupling == "affine" and not self._model.bounded_scale:
            # (t, -(h + 2)) saves a Neg before the Exp
            net = replace(net, conv3=negate_second_half(net.conv3))
        params = conditioner(graph, kept, net, path=path, size=size)
        if self._model.coupling == "additive":
            shift = params
        else:
            shift, v = graph.halves(params, name=f"{path}/coupling/params")
            inverse_scale = self._inverse_scale(v, path)
            moved = graph.node("Mul", [moved, inverse_scale], name=f"{path}/coupling/apply")
        moved = graph.node("Sub", [moved, shift], name=f"{path}/coupling/shift")
        h = graph.node("Concat", [kept, moved], name=f"{path}/coupling/concat", axis=1)
        return graph.conv(h, step.decode, name=f"{path}/invconv")

    def _inverse_scale(self, v: str, path: str) -> str:
        graph = self._graph
        one = graph.constant("constants/one", np.ones((1, 1, 1, 1)))
        if not self._model.bounded_scale:
            # 1 / sigmoid(h + 2) without dividing by a sigmoid that may underflow
            grown = graph.node("Exp", [v], name=f"{path}/coupling/exp")
            return graph.node("Add", [grown, one], name=f"{path}/coupling/inverse_scale")
        two = graph.constant("constants/two", np.full((1, 1, 1, 1), 2.0))
        sigmoid = graph.node("Sigmoid", [v], name=f"{path}/coupling/sigmoid")
        bounded = graph.node("Add", [sigmoid, one], name=f"{path}/coupling/bound")
        return graph.node("Div", [two, bounded], name=f"{path}/coupling/inverse_scale")

"""The encoder graph: x -> z1 ... zL, log_prob."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from glow_deploy.artifact.metadata import GraphMetadata
from glow_deploy.folding import FoldedConv, FoldedGlow, FoldedLevel, FoldedPrior, FoldedStep
from glow_deploy.folding.arrays import step_path

from .builder import GraphBuilder
from .graph import Graph
from .parts import check_plan, conditioner, edged_conv, negate_second_half
from .precision_plan import PrecisionPlan
from .target import GraphTarget

__all__ = ["build_encoder"]

_SPATIAL = np.array([1, 2, 3], dtype=np.int64)


def build_encoder(
    folded: FoldedGlow,
    *,
    metadata: GraphMetadata,
    plan: PrecisionPlan | None = None,
    target: GraphTarget | None = None,
) -> Graph:
    """Build the encoder.

    Inputs: `x` [batch,C,H,W] float32 in [0,1), and `y` [batch] int64 for class-conditional models. Outputs: `z1` ...
    `zL`, standard normal under the model, and `log_prob` [batch] in nats, float32.

    Args:
        folded: the model.
        metadata: stored in the graph; its precision is the plan's name.
        plan: what runs in 16 bit; None is float32 throughout. Log-determinants and densities are summed in float32 in
            every plan.
        target: what it is written in; None for the newest that we write.

    Raises:
        UsageError: the plan is for another model or needs a newer operator set, or a weight is beyond the largest value
            of its number.
    """
    check_plan(folded, metadata, plan)
    return _Encoder(folded, plan, target).build(metadata)


class _Encoder:
    def __init__(self, folded: FoldedGlow, plan: PrecisionPlan | None, target: GraphTarget | None) -> None:
        self._model = folded
        self._graph = GraphBuilder("glow_encoder", plan=plan, target=target)
        self._log_prob_terms: list[str] = []  # each [batch]
        self._constant = folded.log_det - 0.5 * folded.dims * math.log(2 * math.pi)

    def build(self, metadata: GraphMetadata) -> Graph:
        graph, model = self._graph, self._model
        h = graph.input("x", model.image_shape)
        if graph.trunk != "fp32":
            h = graph.cast(h, graph.trunk, name="x/cast_in")
        labels = None if model.num_classes is None else graph.input("y", (), dtype=TensorProto.INT64)
        last = len(model.levels)
        for index, level in enumerate(model.levels, start=1):
            h = graph.node("SpaceToDepth", [h], name=f"level{index}/squeeze", blocksize=2)
            h = self._steps(h, level, index)
            if level.split is not None:
                h = self._split(h, level.split, index, level.shape[1:], labels)
        self._prior(h, model.prior, labels, path="prior", size=model.levels[-1].shape[1:], output=f"z{last}")
        for index, shape in enumerate(model.latent_shapes, start=1):
            graph.output(f"z{index}", shape)
        self._log_prob()
        graph.output("log_prob", ())
        return graph.build(metadata.to_props())

    def _steps(self, h: str, level: FoldedLevel, index: int) -> str:
        """Run the level's steps, adding its log-scales element by element before one sum over all of them."""
        log_scales: str | None = None
        for number, step in enumerate(level.steps, start=1):
            path = step_path(index, number)
            if number == 1:
                step = replace(step, encode=_reorder_inputs(step.encode))
            h, log_scale = self._step(h, step, path, level.shape[1:])
            if log_scales is None or log_scale is None:
                log_scales = log_scale
            else:
                log_scales = self._graph.node("Add", [log_scales, log_scale], name=f"{path}/log_det/add")
        if log_scales is not None:
            self._log_prob_terms.append(self._sum(log_scales, name=f"level{index}/log_det"))
        return h

    def _step(self, h: str, step: FoldedStep, path: str, size: tuple[int, int]) -> tuple[str, str | None]:
        graph = self._graph
        h = graph.conv(h, step.encode, name=f"{path}/invconv")
        kept, moved = graph.halves(h, name=f"{path}/coupling/split")
        params = conditioner(graph, kept, step.conditioner, path=path, size=size)
        log_scale = None
        if self._model.coupling == "additive":
            moved = graph.node("Add", [moved, params], name=f"{path}/coupling/shift")
        else:
            shift, v = graph.halves(params, name=f"{path}/coupling/params")
            moved = graph.node("Add", [moved, shift], name=f"{path}/coupling/shift")
            scale, log_scale = self._scale(v, path)
            moved = graph.node("Mul", [moved, scale], name=f"{path}/coupling/apply")
        return graph.node(
            "Concat", [kept, moved], name=f"{path}/coupling/concat", output=f"{path}/out", axis=1
        ), log_scale

    def _scale(self, v: str, path: str) -> tuple[str, str]:
        """Return the scale and its logarithm, from v = h + 2."""
        graph = self._graph
        scale = graph.node("Sigmoid", [v], name=f"{path}/coupling/sigmoid")
        if self._model.bounded_scale:
            half = graph.constant("constants/half", np.full((1, 1, 1, 1), 0.5))
            scale = graph.node("Mul", [scale, half], name=f"{path}/coupling/half")
            scale = graph.node("Add", [scale, half], name=f"{path}/coupling/bound")
            # Of the scale as it is applied, rounded or not: that is the determinant of what is computed.
            exact = self._in_float32(scale, name=f"{path}/log_det/cast")
            return scale, graph.node("Log", [exact], name=f"{path}/log_det/log")
        # log sigmoid(v) = -softplus(-v), which neither overflows nor loses digits where the sigmoid is near 0 or 1
        exact = self._in_float32(v, name=f"{path}/log_det/cast")
        negative = graph.node("Neg", [exact], name=f"{path}/log_det/neg")
        softplus = graph.node("Softplus", [negative], name=f"{path}/log_det/softplus")
        return scale, graph.node("Neg", [softplus], name=f"{path}/log_det/log_sigmoid")

    def _split(
        self, h: str, split: FoldedConv | FoldedPrior, index: int, size: tuple[int, int], labels: str | None
    ) -> str:
        """Emit the second half as `z<index>` and return the first."""
        kept, emitted = self._graph.halves(h, name=f"level{index}/split")
        if isinstance(split, FoldedPrior):
            self._prior(emitted, split, labels, path=f"level{index}/split", size=size, output=f"z{index}")
        else:
            self._conditional_prior(kept, emitted, split, index, size)
        return kept

    def _conditional_prior(self, kept: str, emitted: str, conv: FoldedConv, index: int, size: tuple[int, int]) -> None:
        graph = self._graph
        # The convolution gives (mean, -log_scale), so that one Exp yields the factor of z.
        params = edged_conv(graph, kept, negate_second_half(conv), name=f"level{index}/split/conv", size=size)
        mean, negative_log_scale = graph.halves(params, name=f"level{index}/split/params")
        centred = graph.node("Sub", [emitted, mean], name=f"level{index}/split/centre")
        factor = graph.node("Exp", [negative_log_scale], name=f"level{index}/split/exp")
        z = self._emit("Mul", [centred, factor], name=f"level{index}/split/normalise", output=f"z{index}")
        exact = self._in_float32(negative_log_scale, name=f"level{index}/split/log_det/cast")
        self._log_prob_terms.append(self._sum(exact, name=f"level{index}/split/log_det"))
        self._log_prob_terms.append(self._minus_half_square(z, name=f"level{index}/split/log_prob"))

    def _prior(
        self, h: str, prior: FoldedPrior, labels: str | None, *, path: str, size: tuple[int, int], output: str
    ) -> None:
        """Normalise a latent whose mean and scale are constants, or entries of a table with one for each class."""
        graph = self._graph
        mean = graph.constant(f"{path}/mean", prior.mean)
        factor = graph.constant(f"{path}/inverse_scale", np.exp(-prior.log_scale))
        log_det = -prior.log_scale.sum(axis=(1, 2, 3)) * _positions(prior, size)
        if labels is None:
            self._constant += float(log_det[0])
        else:
            mean = graph.node("Gather", [mean, labels], name=f"{path}/mean/gather", axis=0)
            factor = graph.node("Gather", [factor, labels], name=f"{path}/inverse_scale/gather", axis=0)
            table = graph.constant(f"{path}/log_det", log_det, number="fp32")
            self._log_prob_terms.append(graph.node("Gather", [table, labels], name=f"{path}/log_det/gather", axis=0))
        centred = graph.node("Sub", [h, mean], name=f"{path}/centre")
        z = self._emit("Mul", [centred, factor], name=f"{path}/normalise", output=output)
        self._log_prob_terms.append(self._minus_half_square(z, name=f"{path}/log_prob"))

    def _log_prob(self) -> None:
        graph = self._graph
        total = graph.constant("log_prob/constant", np.array([self._constant]), number="fp32")
        for number, term in enumerate(self._log_prob_terms, start=1):
            output = "log_prob" if number == len(self._log_prob_terms) else None
            total = graph.node("Add", [total, term], name=f"log_prob/add{number}", output=output)

    def _emit(self, op: str, inputs: Sequence[str], *, name: str, output: str) -> str:
        """Add the node that gives a float32 output of the graph."""
        if self._graph.trunk == "fp32":
            return self._graph.node(op, inputs, name=name, output=output)
        return self._graph.cast(
            self._graph.node(op, inputs, name=name), "fp32", name=f"{output}/cast_out", output=output
        )

    def _in_float32(self, tensor: str, *, name: str) -> str:
        """Widen a tensor of the trunk before it is summed: float16 has 11 bits, and ends at 65504."""
        return tensor if self._graph.trunk == "fp32" else self._graph.cast(tensor, "fp32", name=name)

    def _sum(self, tensor: str, *, name: str) -> str:
        axes = self._graph.constant("constants/axes", _SPATIAL)
        return self._graph.node("ReduceSum", [tensor, axes], name=name, keepdims=0)

    def _minus_half_square(self, z: str, *, name: str) -> str:
        graph = self._graph
        square = graph.node("Mul", [z, z], name=f"{name}/square")
        total = self._sum(square, name=f"{name}/sum")
        factor = graph.constant("constants/minus_half", np.array([-0.5]), number="fp32")
        return graph.node("Mul", [total, factor], name=name)


def _reorder_inputs(conv: FoldedConv) -> FoldedConv:
    """Take SpaceToDepth's channel order (2i+j)*C+c where the model has 4c+2i+j."""
    channels = conv.weight.shape[1] // 4
    order = [4 * c + offset for offset in range(4) for c in range(channels)]
    return replace(conv, weight=conv.weight[:, order])


def _positions(prior: FoldedPrior, size: tuple[int, int]) -> int:
    """How many pixels one entry of the prior's scale stands for."""
    entries: int = prior.log_scale.shape[2] * prior.log_scale.shape[3]
    return size[0] * size[1] // entries

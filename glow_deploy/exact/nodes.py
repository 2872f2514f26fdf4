"""What the exact encoder and the exact decoder have in common, as nodes of a graph.

Every tensor of the trunk holds integers below 2^24 in float32. Weights hold integers over a power of two, so that a
convolution's result needs no multiplication before it is rounded.
"""

from __future__ import annotations

import numpy as np

from glow_deploy.folding import FoldedConv
from glow_deploy.graphs.builder import GraphBuilder
from glow_deploy.graphs.parts import edged_conv

from .arrays import (
    MOST_LOG_SCALE,
    NARROW_LIMB_BITS,
    ExactGlow,
    ExactPrior,
    ExactSplit,
    IntegerConditioner,
    IntegerConv,
    Rounded,
    Shear,
)
from .narrow import FORMATS, NarrowNumber
from .operands import edge_planes, narrow_conv

__all__ = ["ExactNodes"]

_SPATIAL = np.array([1, 2, 3], dtype=np.int64)


class ExactNodes:
    """Adds parts of an exact model to a graph.

    Args:
        model: the integers.
        graph: to add to.
        native: type hidden convolutions in the 16-bit number that their sums are rounded to.
    """

    def __init__(self, model: ExactGlow, graph: GraphBuilder, *, native: bool = False) -> None:
        self._native = native
        self._model = model
        self._graph = graph
        self._beyond: str | None = None  # how many values are beyond the limit at the places checked so far, [batch]
        self._labels: str | None = None

    def labels(self, name: str) -> None:
        """Take class labels from an input."""
        self._labels = name

    def scalar(self, value: float) -> str:
        """Store a number, [1,1,1,1]."""
        return self._graph.constant(f"constants/{value:.17g}", np.full((1, 1, 1, 1), value))

    def shear(self, first: str, second: str, shear: Shear, *, path: str, inverse: bool) -> tuple[str, str]:
        """Add to one half, or subtract from it, what a shear makes of the other."""
        read, changed = (first, second) if shear.lower else (second, first)
        model, graph = self._model, self._graph
        unit = 2.0**model.limb_bits
        clipped = self.clip(read, -model.limit, model.limit, name=f"{path}/clip")
        scaled = graph.node("Mul", [clipped, self.scalar(1 / unit)], name=f"{path}/scale")
        rounded = graph.node("Round", [scaled], name=f"{path}/limb")
        high = graph.node("Mul", [rounded, self.scalar(unit)], name=f"{path}/high")
        low = graph.node("Sub", [clipped, high], name=f"{path}/low")
        scale = np.exp2(-shear.conv.shift.astype(np.float64))
        weight = shear.conv.weight * scale[:, None, None, None]
        upper = graph.conv(high, FoldedConv(weight=weight, bias=shear.conv.bias * unit * scale), name=path)
        held = graph.constant(f"{path}/weight", weight)
        lower = graph.node("Conv", [low, held], name=f"{path}/low_conv", kernel_shape=[1, 1], pads=[0, 0, 0, 0])
        parts = [graph.node("Round", [part], name=f"{part}/round") for part in (upper, lower)]
        result = self._add(changed, parts, name=f"{path}/apply", inverse=inverse)
        return (first, result) if shear.lower else (result, second)

    def couple(
        self, first: str, second: str, net: IntegerConditioner, *, path: str, size: tuple[int, int], inverse: bool
    ) -> str:
        """Add to the second half, or subtract from it, what the conditioner makes of the first."""
        graph, path = self._graph, f"{path}/coupling"
        hidden = self.read(first, net.input, name=f"{path}/input")
        for number, conv in enumerate((net.conv1, net.conv2), start=1):
            if net.narrow is not None:
                where = f"{path}/conv{number}"
                hidden = self._narrow_conv(hidden, conv, net.narrow, name=where, size=size, first=number == 1)
            else:
                hidden = self.conv(hidden, conv, name=f"{path}/conv{number}", size=size)
            hidden = self.clip(hidden, 0, net.largest, name=f"{path}/clip{number}")
            hidden = graph.node("Round", [hidden], name=f"{path}/round{number}")
        sums = self.conv(hidden, net.conv3, name=f"{path}/conv3", size=size)
        rounded = graph.node("Round", [sums], name=f"{path}/round3")
        parts = [rounded]
        if net.conv3.parts > 1:
            parts = graph.split(rounded, net.conv3.parts, name=f"{path}/parts")
        return self._add(second, parts, name=f"{path}/shift", inverse=inverse)

    def read(self, q: str, rounding: Rounded, *, name: str) -> str:
        """Make a convolution's input of integers of the trunk."""
        if rounding.shift:
            scaled = self._graph.node("Mul", [q, self.scalar(2.0**-rounding.shift)], name=f"{name}/scale")
            q = self._graph.node("Round", [scaled], name=f"{name}/round")
        return self.clip(q, -rounding.largest, rounding.largest, name=f"{name}/clip")

    def conv(self, tensor: str, conv: IntegerConv, *, name: str, size: tuple[int, int]) -> str:
        """Add a convolution whose result is the integer sum over its power of two."""
        scale = np.exp2(-conv.shift.astype(np.float64))
        weight = conv.weight * scale[:, None, None, None]
        bias = conv.bias * scale
        edge = None if conv.edge is None else conv.edge * scale[:, None, None]
        if conv.parts > 1:
            weight = np.concatenate(np.split(weight, conv.parts, axis=1))
            rest = (conv.parts - 1) * len(bias)
            bias = np.concatenate((bias, np.zeros(rest)))
            edge = None if edge is None else np.concatenate((edge, np.zeros((rest, *edge.shape[1:]))))
        folded = FoldedConv(weight=weight, bias=bias, edge=edge)
        return edged_conv(self._graph, tensor, folded, name=name, size=size, group=conv.parts)

    def _narrow_conv(
        self, tensor: str, conv: IntegerConv, number: NarrowNumber, *, name: str, size: tuple[int, int], first: bool
    ) -> str:
        """Add a convolution whose exact sum is rounded to 16 bit once: typed so, or by a cast there and back."""
        graph = self._graph
        if not self._native:
            sums = graph.cast(self.conv(tensor, conv, name=name, size=size), number, name=f"{name}/narrow")
            return graph.cast(sums, "fp32", name=f"{name}/wide")
        narrow, limbs = FORMATS[number], first and number == "bf16"
        inputs = [tensor]
        if limbs:
            # Ten bits and a sign are two numbers of eight bits at most, for which the same weights stand twice.
            scaled = graph.node("Mul", [tensor, self.scalar(2.0**-NARROW_LIMB_BITS)], name=f"{name}/scale")
            rounded = graph.node("Round", [scaled], name=f"{name}/limb")
            high = graph.node("Mul", [rounded, self.scalar(2.0**NARROW_LIMB_BITS)], name=f"{name}/high")
            inputs = [high, graph.node("Sub", [tensor, high], name=f"{name}/low")]
        if conv.edge is not None:
            inputs.append(self._planes(tensor, edge_planes(conv), name=name))
        if len(inputs) > 1:
            tensor = graph.node("Concat", inputs, name=f"{name}/limbs", axis=1)
        if narrow.input_shift:
            tensor = graph.node("Mul", [tensor, self.scalar(2.0**-narrow.input_shift)], name=f"{name}/scale_input")
        tensor = graph.cast(tensor, number, name=f"{name}/narrow")
        folded = narrow_conv(conv, narrow, limbs=limbs)
        return graph.cast(graph.conv(tensor, folded, name=name, number=number), "fp32", name=f"{name}/wide")

    def _planes(self, tensor: str, values: np.ndarray, *, name: str) -> str:
        """Make planes of constants, [batch,planes,H,W], in which zero padding shows where the border is."""
        graph = self._graph
        axis = graph.constant("constants/channels", np.array([1], dtype=np.int64))
        total = graph.node("ReduceSum", [tensor, axis], name=f"{name}/plane", keepdims=1)
        ones = self.clip(total, 1, 1, name=f"{name}/ones")
        held = graph.constant(f"{name}/planes/value", values[None, :, None, None])
        return graph.node("Mul", [ones, held], name=f"{name}/planes")

    def distribution(
        self,
        prior: ExactPrior | ExactSplit,
        kept: str,
        *,
        spacing: float,
        path: str,
        size: tuple[int, int],
        inverse: bool,
    ) -> tuple[str, str, str | None]:
        """Tell what turns a latent's integers into standard normal numbers, or, if `inverse`, the other way round.

        Returns:
            Its mean, in integers; the factor; and its log-scale, or None where that is a constant.
        """
        graph, sign = self._graph, 1.0 if inverse else -1.0
        factor = 1 / spacing if inverse else spacing
        name = "per_unit" if inverse else "unit"
        if isinstance(prior, ExactSplit):
            read = self.read(kept, prior.input, name=f"{path}/input")
            sums = self.conv(read, prior.conv, name=f"{path}/conv", size=size)
            mean, given = graph.halves(sums, name=f"{path}/params")
            log_scale = self.clip(given, -MOST_LOG_SCALE, MOST_LOG_SCALE, name=f"{path}/clip")
            signed = log_scale if inverse else graph.node("Neg", [log_scale], name=f"{path}/neg")
            grown = graph.node("Exp", [signed], name=f"{path}/exp")
            held = graph.constant(f"{path}/{name}/factor", np.full((1, 1, 1, 1), factor))
            unit = graph.node("Mul", [grown, held], name=f"{path}/{name}")
            return graph.node("Round", [mean], name=f"{path}/mean"), unit, log_scale
        means = graph.constant(f"{path}/mean", prior.mean.astype(np.float64))
        units = graph.constant(f"{path}/{name}", np.exp(sign * prior.log_scale) * factor)
        return self.of_class(means), self.of_class(units), None

    def of_class(self, table: str) -> str:
        """Look up what a table has for each image's class; without classes, the table itself."""
        if self._labels is None:
            return table
        return self._graph.node("Gather", [table, self._labels], name=f"{table}/gather", axis=0)

    def clip(self, tensor: str, least: float, most: float, *, name: str) -> str:
        """Add a Clip to integer bounds."""
        bounds = [self._graph.constant(f"constants/bound/{bound}", np.array(float(bound))) for bound in (least, most)]
        return self._graph.node("Clip", [tensor, *bounds], name=name)

    def check(self, *tensors: str, path: str, limit: str | None = None) -> None:
        """Have the values of tensors that are beyond the limit counted for `in_range`.

        A value that is no number is beyond it: every comparison with it is false, where a maximum may leave it out.

        Args:
            tensors: [batch,C,H,W].
            path: for the nodes' names.
            limit: name of another limit than the model's.
        """
        graph = self._graph
        if limit is None:
            limit = graph.constant("in_range/limit", np.full((1, 1, 1, 1), float(self._model.limit)))
        for number, tensor in enumerate(tensors, start=1):
            name = f"{path}/range{number}"
            magnitude = graph.node("Abs", [tensor], name=f"{name}/abs")
            within = graph.node("LessOrEqual", [magnitude, limit], name=f"{name}/within")
            ones = graph.cast(within, "fp32", name=f"{name}/ones")
            beyond = graph.node("Sub", [self.scalar(1.0), ones], name=f"{name}/beyond")
            axes = graph.constant("constants/axes", _SPATIAL)
            count = graph.node("ReduceSum", [beyond, axes], name=f"{name}/count", keepdims=0)
            self._beyond = count if self._beyond is None else graph.node("Add", [self._beyond, count], name=name)

    def in_range(self) -> None:
        """Give `in_range` [batch]: 1 where every checked value is within the limit, 0 elsewhere."""
        graph = self._graph
        assert self._beyond is not None
        one = graph.constant("in_range/one", np.array([1.0]))
        left = graph.node("Sub", [one, self._beyond], name="in_range/left")
        bounds = [graph.constant(f"constants/bound/{bound}", np.array(float(bound))) for bound in (0, 1)]
        graph.node("Clip", [left, *bounds], name="in_range", output="in_range")
        graph.output("in_range", ())

    def _add(self, tensor: str, parts: list[str], *, name: str, inverse: bool) -> str:
        graph = self._graph
        if not inverse:
            return graph.node("Sum", [tensor, *parts], name=name)
        total = parts[0] if len(parts) == 1 else graph.node("Sum", parts, name=f"{name}/sum")
        return graph.node("Sub", [tensor, total], name=name)

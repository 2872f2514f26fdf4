"""Does what a model computes fit into float16? Asked of the float32 graphs, before a narrow one is written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from glow_deploy.errors import UsageError
from glow_deploy.graphs.precision_plan import LARGEST, ElementType, PrecisionPlan, part_of

if TYPE_CHECKING:
    import onnx

    from glow_deploy.protocol import Engine, Role, TensorSpec

__all__ = ["MIN_HEADROOM_BITS", "RangeReport", "TensorRange", "measure_ranges"]

MIN_HEADROOM_BITS = 2.0
"""What is left above the largest value seen: unseen images reach further, and two bits are a factor of four."""

_SMALLEST_NORMAL: Mapping[ElementType, float] = {"fp32": 2.0**-126, "fp16": 2.0**-14, "bf16": 2.0**-126}

_STEP = re.compile(r"level\d+/step\d+")

_BATCH_BYTES = 2**28  # of all tensors shown, at once
_MAX_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class TensorRange:
    """What was seen of one tensor that a plan holds in 16 bit.

    Attributes:
        name: of the tensor or weight, `level1/step01/coupling/conv2:0`.
        number: what the plan holds it in.
        largest: largest finite magnitude seen in float32.
        subnormal_share: share of all values that are not 0 but below the number's smallest normal value, and so lose
            digits.
        non_finite: values that were infinite or NaN in float32 already.
    """

    name: str
    number: ElementType
    largest: float
    subnormal_share: float
    non_finite: int

    @property
    def headroom_bits(self) -> float:
        """How often the largest value can double before it overflows; negative where it does, infinite for zeros."""
        return math.inf if self.largest == 0 else math.log2(LARGEST[self.number] / self.largest)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values; the headroom of zeros is null."""
        bits = self.headroom_bits
        return {
            "name": self.name,
            "number": self.number,
            "largest": self.largest,
            "headroom_bits": bits if math.isfinite(bits) else None,
            "subnormal_share": self.subnormal_share,
            "non_finite": self.non_finite,
        }


@dataclass(frozen=True, kw_only=True)
class RangeReport:
    """The ranges of all tensors that a plan holds in 16 bit.

    Attributes:
        images: how many were encoded, and their latents decoded.
        latents: how many further latents were decoded.
        tensors: weights and activations, in the order of the graphs. A tensor of both graphs has one entry.
    """

    images: int
    latents: int
    tensors: tuple[TensorRange, ...]

    @property
    def worst(self) -> TensorRange | None:
        """The tensor with the least headroom; None where nothing is narrow."""
        return min(self.tensors, key=lambda tensor: tensor.headroom_bits, default=None)

    def headroom_of_steps(self) -> Mapping[str, float]:
        """Return step path -> least headroom of its tensors, bits; steps with nothing narrow are left out."""
        found: dict[str, float] = {}
        for tensor in self.tensors:
            step = _STEP.match(tensor.name)
            if step is not None:
                found[step.group()] = min(found.get(step.group(), math.inf), tensor.headroom_bits)
        return found

    def problems(self, *, min_bits: float = MIN_HEADROOM_BITS) -> tuple[str, ...]:
        """Say what does not fit, the worst first; empty where all is well.

        Args:
            min_bits: headroom that every tensor must have.
        """
        ranked = sorted(self.tensors, key=lambda tensor: (-tensor.non_finite, tensor.headroom_bits))
        return tuple(text for tensor in ranked if (text := _problem(tensor, min_bits)) is not None)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "images": self.images,
            "latents": self.latents,
            "tensors": [tensor.to_dict() for tensor in self.tensors],
        }


def measure_ranges(
    graphs: Mapping[Role, onnx.ModelProto],
    plan: PrecisionPlan,
    images: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    latents: Mapping[str, np.ndarray] | None = None,
) -> RangeReport:
    """Run the float32 graphs and look at every tensor that the plan would hold in 16 bit.

    The encoder runs on the images, the decoder on the latents that come out, on the CPU.

    Args:
        graphs: the float32 `encoder` and `decoder`.
        plan: what is to be narrow.
        images: float32 [N,C,H,W], golden and stress images.
        labels: int64 [N], for class-conditional models.
        latents: `z1` ... `zL` float32 [M,...], and `y`, of samples to decode as well.

    Raises:
        UsageError: the plan is for another model, the graphs are not float32, or there is no image.
        EngineError: ONNX Runtime refuses the graph, or inputs do not fit it.
    """
    from .simulate import own_rounding

    own = own_rounding(graphs["encoder"])
    if set(own.conditioners) != set(plan.conditioners):
        raise UsageError("the precision plan is for another model than the graphs whose ranges are asked for")
    if {own.trunk, *own.conditioners.values()} != {"fp32"}:
        raise UsageError(f"ranges are measured on float32 graphs; this one has {own.label}")
    if not len(images):
        raise UsageError("ranges are measured on images, and there is none")
    seen = _Seen()
    named = {} if labels is None else {"y": labels}
    encoded: dict[str, list[np.ndarray]] = {}
    for outputs in _walk(graphs["encoder"], plan, {"x": images, **named}, seen):
        for name in [spec.name for spec in graphs["encoder"].graph.output if spec.name.startswith("z")]:
            encoded.setdefault(name, []).append(outputs[name])
    fed = {name: np.concatenate(parts) for name, parts in encoded.items()}
    finite = np.logical_and.reduce([np.isfinite(part).reshape(len(part), -1).all(axis=1) for part in fed.values()])
    # A latent that is not finite shows as such in the encoder; in the decoder it would hide everything else.
    if finite.any():
        for _ in _walk(graphs["decoder"], plan, {name: part[finite] for name, part in {**fed, **named}.items()}, seen):
            pass
    if latents is not None:
        for _ in _walk(graphs["decoder"], plan, latents, seen):
            pass
    return RangeReport(
        images=len(images), latents=0 if latents is None else len(latents["z1"]), tensors=tuple(seen.tensors())
    )


class _Seen:
    """Running figures by tensor."""

    def __init__(self) -> None:
        self._figures: dict[str, tuple[ElementType, float, int, int, int]] = {}

    def add(self, name: str, number: ElementType, values: np.ndarray) -> None:
        _, largest, subnormal, non_finite, count = self._figures.get(name, (number, 0.0, 0, 0, 0))
        size = np.abs(values)
        finite = np.isfinite(size)
        bad = size.size - int(np.count_nonzero(finite))
        if bad:
            size = size[finite]
        small = int(np.count_nonzero((size < _SMALLEST_NORMAL[number]) & (size > 0)))
        largest = max(largest, float(size.max(initial=0.0)))
        self._figures[name] = (number, largest, subnormal + small, non_finite + bad, count + values.size)

    def tensors(self) -> Iterator[TensorRange]:
        for name, (number, largest, subnormal, non_finite, count) in self._figures.items():
            share = subnormal / count if count else 0.0
            yield TensorRange(name=name, number=number, largest=largest, subnormal_share=share, non_finite=non_finite)


def _walk(
    model: onnx.ModelProto, plan: PrecisionPlan, feeds: Mapping[str, np.ndarray], seen: _Seen
) -> Iterator[dict[str, np.ndarray]]:
    """Note the narrow weights, then run the graph batch by batch, note the narrow tensors and give the outputs."""
    from onnx import TensorProto, numpy_helper

    from glow_deploy.artifact.taps import constant_tensors

    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    # What a ReLU gives reaches no further than what it is given, which is shown; and an edge spread over the image
    # holds the values of its table, a weight.
    known = {name for node in model.graph.node if node.op_type == "Relu" for name in node.output}
    known |= constant_tensors(model)
    inner: dict[str, ElementType] = {}
    outer: dict[str, ElementType] = {}
    for node in model.graph.node:
        number = _number(node.name, plan)
        if number == "fp32":
            continue
        for name in node.input:
            if name in known:
                continue
            if name not in weights:
                # At the border of a conditioner, the cast's result has the same values.
                (outer if name in feeds else inner).setdefault(name, number)
            elif weights[name].data_type == TensorProto.FLOAT:
                # Once more in the decoder, where nearly all are the same: twice the same share is the same share.
                seen.add(name, number, numpy_helper.to_array(weights[name]))
        inner |= {name: number for name in node.output if name not in {*inner, *known}}
    outer.pop("y", None)
    engine, batch = _open_with(model, list(inner))
    with engine:
        for first in range(0, len(next(iter(feeds.values()))), batch):
            rows = {name: values[first : first + batch] for name, values in feeds.items()}
            outputs = engine.run(rows)
            for source, names in ((rows, outer), (outputs, inner)):
                for name, number in names.items():
                    seen.add(name, number, source[name])
            yield outputs


def _number(node: str, plan: PrecisionPlan) -> ElementType:
    part = part_of(node)
    if part is None:
        return "fp32"
    return plan.trunk if part == "trunk" else plan.conditioners[part]


def _open_with(model: onnx.ModelProto, names: Sequence[str]) -> tuple[Engine, int]:
    """Open a graph that shows these tensors as well, and say how many images fit into memory with them."""
    import onnx

    from glow_deploy.artifact.graph_file import describe_graph
    from glow_deploy.artifact.taps import with_outputs
    from glow_deploy.engines.device import Device
    from glow_deploy.engines.onnxruntime import OnnxRuntimeEngine
    from glow_deploy.protocol import TensorSpec

    tapped = with_outputs(model, names)
    facts = describe_graph(model, source="the graph")
    specs = [
        TensorSpec(
            name=value.name,
            dtype=str(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)),
            shape=tuple(dim.dim_value for dim in list(value.type.tensor_type.shape.dim)[1:]),
        )
        for value in list(tapped.graph.output)[len(facts.outputs) :]
    ]
    engine = OnnxRuntimeEngine(
        tapped.SerializeToString(),
        graph=replace(facts, outputs=(*facts.outputs, *specs)),
        device=Device("cpu"),
        source="the graph whose ranges are measured",
    )
    return engine, _batch(specs)


def _batch(specs: Sequence[TensorSpec]) -> int:
    each = sum(4 * math.prod(spec.shape) for spec in specs)
    return max(1, min(_MAX_BATCH, _BATCH_BYTES // max(1, each)))


def _problem(tensor: TensorRange, min_bits: float) -> str | None:
    if tensor.non_finite:
        return f"{tensor.name} holds {tensor.non_finite} values that are not finite in float32 already"
    bits = tensor.headroom_bits
    if bits >= min_bits:
        return None
    limit = f"{LARGEST[tensor.number]:.6g}"
    if bits < 0:
        return f"{tensor.name} reaches {tensor.largest:.3g} and overflows: {tensor.number} ends at {limit}"
    return (
        f"{tensor.name} reaches {tensor.largest:.3g}, {bits:.1f} bits below {limit} where {tensor.number} ends; "
        f"{min_bits:g} are asked for"
    )

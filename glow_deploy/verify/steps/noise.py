"""What rounding should do to one step: each convolution's own rounding, carried to the end of the step in float64.

A convolution that rounds to a unit roundoff u is off by about u times the root of the sum of the squared products it
adds up, entry by entry, and of its squared result. So much noise is put on its output and the step is finished in
float64: that gives the error after the step, to first order, for any u. It counts what c*u*rms(h) cannot see: products
that cancel, and a conditioner or a scale that magnifies. Observed over predicted lies between 0.27 and 1.35 on four
trained and 72 perturbed models, float32 on ONNX Runtime's CPU provider, and between 0.31 and 0.93 for simulated float16
and bfloat16 on the trained ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from glow_deploy.numerics.float64 import Float64Graph
from glow_deploy.numerics.float64.ops import OPERATORS

from .taps import Stage, run_stage

if TYPE_CHECKING:
    import onnx

__all__ = ["UNIT_ROUNDOFF", "Conv", "Convs", "StageNoise", "read_convs", "stage_noise"]

UNIT_ROUNDOFF: Mapping[str, float] = {"fp32": 2.0**-24, "tf32": 2.0**-11, "fp16": 2.0**-11, "bf16": 2.0**-8}
"""Largest relative error of rounding to nearest: half a unit in the last of 24, 11, 11 and 8 significand bits."""


@dataclass(frozen=True, kw_only=True)
class Conv:
    """A convolution of a graph, by the names of its tensors.

    Attributes:
        given: its input.
        weight: an initializer.
        bias: likewise; None where it has none.
        edged: the tensor that its edge has been added to; None where it has none.
    """

    given: str
    weight: str
    bias: str | None
    edged: str | None


Convs = Mapping[str, Conv]
"""Convolutions by output."""

# Small enough to stay in the linear range, large enough to be far above float64's own rounding.
_PROBE = 2.0**-26


@dataclass(frozen=True, kw_only=True)
class StageNoise:
    """Error after one stage, rms, for a unit roundoff of 1 in one part of it.

    Attributes:
        trunk: rounding of the stage's 1x1 convolution (of a split: its 3x3 one).
        conditioner: rounding of the coupling's convolutions.
        rest: rounding of the result itself, once: its rms.
        trunk_ceiling: as `trunk`, for a sum taken one product after the other. The partial sums then round too, and
            of n products of random sign the error is sqrt((n+1)/6) times as large; no order of summation is worse.
        conditioner_ceiling: likewise.
        largest: largest |value| inside the conditioner.
    """

    trunk: float
    conditioner: float
    rest: float
    trunk_ceiling: float
    conditioner_ceiling: float
    largest: float

    def expected(self, *, trunk: float, conditioner: float) -> float:
        """The rms error to expect for these unit roundoffs."""
        return float(
            np.sqrt((trunk * self.trunk) ** 2 + (conditioner * self.conditioner) ** 2 + (trunk * self.rest) ** 2)
        )

    def ceiling(self, *, trunk: float, conditioner: float) -> float:
        """The rms error that no order of summation exceeds."""
        parts = (trunk * self.trunk_ceiling, conditioner * self.conditioner_ceiling, trunk * self.rest)
        return float(np.sqrt(sum(part**2 for part in parts)))


def read_convs(model: onnx.ModelProto) -> Convs:
    """The convolutions of a graph whose weights are stored in it."""
    stored = {tensor.name for tensor in model.graph.initializer}
    edged = {node.input[0]: node.output[0] for node in model.graph.node if node.name.endswith("/add_edge")}
    return {
        node.output[0]: Conv(
            given=node.input[0],
            weight=node.input[1],
            bias=node.input[2] if len(node.input) > 2 else None,
            edged=edged.get(node.output[0]),
        )
        for node in model.graph.node
        if node.op_type == "Conv" and stored.issuperset(node.input[1:])
    }


def stage_noise(
    graph: Float64Graph,
    convs: Convs,
    stage: Stage,
    source: np.ndarray,
    feeds: Mapping[str, np.ndarray],
    *,
    seed: int = 0,
) -> StageNoise:
    """Measure how a stage responds to its own rounding.

    Args:
        graph: that holds the stage.
        convs: of the whole graph.
        stage: which.
        source: what it starts from [N, ...].
        feeds: graph inputs by name.
        seed: of the signs of the noise.
    """
    rng = np.random.default_rng(seed)
    mine = {output: conv for output, conv in convs.items() if output.startswith(f"{stage.step}/")}
    inputs = [conv.given for conv in mine.values() if conv.given != stage.source]
    edged = [conv.edged for conv in mine.values() if conv.edged is not None]
    clean = run_stage(graph, stage, source, feeds, outputs=[*inputs, *mine, *edged])
    clean.setdefault(stage.source, np.asarray(source, dtype=np.float64))
    result = clean[stage.output]
    sums = dict.fromkeys(("trunk", "conditioner", "trunk_ceiling", "conditioner_ceiling"), 0.0)
    largest = 0.0
    with np.errstate(all="ignore"):
        for output, conv in mine.items():
            squares, products = _squares(graph, clean[conv.given], conv)
            # The result is rounded once more when it is stored, and so is its sum with an edge.
            results = [output, *([] if conv.edged is None else [conv.edged])]
            magnitude = np.sqrt(squares + sum(np.square(clean[name]) for name in results))
            noise = _PROBE * magnitude * rng.choice([-1.0, 1.0], size=magnitude.shape)
            moved = run_stage(graph, stage, source, feeds, overrides={output: clean[output] + noise})
            response = float(np.mean(np.square((moved[stage.output] - result) / _PROBE)))
            part = "conditioner" if "/coupling/" in output else "trunk"
            sums[part] += response
            sums[f"{part}_ceiling"] += response * max(1.0, (products + 1) / 6)
            if part == "conditioner":
                largest = max(largest, *(float(np.abs(clean[name]).max()) for name in (*results, conv.given)))
        rest = float(np.sqrt(np.mean(np.square(result))))
    return StageNoise(rest=rest, largest=largest, **{name: float(np.sqrt(value)) for name, value in sums.items()})


def _squares(graph: Float64Graph, given: np.ndarray, conv: Conv) -> tuple[np.ndarray, int]:
    """Sum of a convolution's squared products, and how many it adds up."""
    kernel = graph.weight(conv.weight)
    squares = [given**2, kernel**2, *([] if conv.bias is None else [graph.weight(conv.bias) ** 2])]
    reach = kernel.shape[2] // 2
    total = OPERATORS["Conv"](squares, {"pads": [reach] * 4})[0]
    return total, int(np.prod(kernel.shape[1:])) + (conv.bias is not None)

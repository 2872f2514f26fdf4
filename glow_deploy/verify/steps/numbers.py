"""Which number every part of a step should run in, and which its graph has it run in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .noise import UNIT_ROUNDOFF
from .taps import Layout

if TYPE_CHECKING:
    import onnx

    from glow_deploy.graphs.precision_plan import PrecisionPlan

__all__ = ["StepNumbers", "graph_numbers", "planned_numbers"]


@dataclass(frozen=True, kw_only=True)
class StepNumbers:
    """The numbers of one step: `fp32`, `fp16` or `bf16`.

    Attributes:
        trunk: of its 1x1 convolution and the coupling's application.
        conditioner: of the coupling's convolutions; of a split or prior, the trunk's.
    """

    trunk: str
    conditioner: str

    @property
    def units(self) -> dict[str, float]:
        """Unit roundoffs, as `StageNoise` takes them."""
        return {"trunk": UNIT_ROUNDOFF[self.trunk], "conditioner": UNIT_ROUNDOFF[self.conditioner]}

    @property
    def unit(self) -> float:
        """The larger of the two unit roundoffs."""
        return max(self.units.values())


def planned_numbers(
    layout: Layout, precision: str, plan: PrecisionPlan | None, stored: Mapping[str, StepNumbers]
) -> dict[str, StepNumbers]:
    """The numbers each step should run in.

    Args:
        layout: of the model.
        precision: of the bundle: `fp32`, `mixed`, ...
        plan: the bundle's; None to go by `precision`.
        stored: what the graph says, which decides where neither of the others does (`auto` without its plan).
    """
    uniform = {"fp32": ("fp32", "fp32"), "mixed": ("fp32", "fp16"), "bf16-mixed": ("fp32", "bf16")}
    uniform["fp16"] = ("fp16", "fp16")
    result = {}
    for step in _all_steps(layout):
        if plan is not None:
            result[step] = StepNumbers(trunk=plan.trunk, conditioner=plan.conditioners.get(step, plan.trunk))
        elif precision in uniform:
            trunk, conditioner = uniform[precision]
            inner = conditioner if step in layout.steps else trunk
            result[step] = StepNumbers(trunk=trunk, conditioner=inner)
        else:
            result[step] = stored[step]
    return result


def graph_numbers(model: onnx.ModelProto, layout: Layout) -> dict[str, StepNumbers]:
    """The narrowest number that each step's part of a graph holds: of its stored weights, and of its casts."""
    from onnx import TensorProto

    names: dict[int, str] = {TensorProto.FLOAT: "fp32", TensorProto.FLOAT16: "fp16", TensorProto.BFLOAT16: "bf16"}
    found = {step: {"trunk": "fp32", "conditioner": "fp32"} for step in _all_steps(layout)}

    def note(name: str, kind: int) -> None:
        number = names.get(kind, "fp32")
        step = "prior" if name.startswith("prior/") else "/".join(name.split("/")[:2])
        if step not in found or "/log_det/" in name:
            return
        part = "conditioner" if "/coupling/" in name else "trunk"
        if UNIT_ROUNDOFF[number] > UNIT_ROUNDOFF[found[step][part]]:
            found[step][part] = number

    for tensor in model.graph.initializer:
        note(tensor.name, tensor.data_type)
    for node in model.graph.node:
        if node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.name == "to":
                    note(node.name or node.output[0], attribute.i)
    return {step: StepNumbers(trunk=parts["trunk"], conditioner=parts["conditioner"]) for step, parts in found.items()}


def _all_steps(layout: Layout) -> tuple[str, ...]:
    return tuple(stage.step for stage in layout.encode)

"""Which part of a model runs in 16 bit: plans, what rounding does to them, and what fits into float16."""

from .plan import PLAN_NAMES, Number, PrecisionPlan, multiply_adds
from .ranges import RangeReport, measure_ranges
from .rounding import Rounding
from .simulate import open_simulated, simulated_graph

__all__ = [
    "PLAN_NAMES",
    "Number",
    "PrecisionPlan",
    "RangeReport",
    "Rounding",
    "measure_ranges",
    "multiply_adds",
    "open_simulated",
    "simulated_graph",
]

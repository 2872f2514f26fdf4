"""What 16 bit does to a model: the values that fit, what rounding costs, and the plan that keeps images exact."""

from .ranges import RangeReport, measure_ranges
from .simulate import open_simulated, simulated_graph

__all__ = ["RangeReport", "measure_ranges", "open_simulated", "simulated_graph"]

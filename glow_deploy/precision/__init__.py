"""Which part of a model runs in 16 bit: plans, what rounding does to them, and what fits into float16."""

from .plan import PLAN_NAMES, Number, PrecisionPlan, multiply_adds

__all__ = ["PLAN_NAMES", "Number", "PrecisionPlan", "multiply_adds"]

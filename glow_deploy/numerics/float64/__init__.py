"""Running the deployed graphs in NumPy float64: the function they stand for, without rounding and without torch."""

from __future__ import annotations

from .evaluate import Float64Graph, evaluate

__all__ = ["Float64Graph", "evaluate"]

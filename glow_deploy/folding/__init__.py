"""A trained Glow as plain arrays: what a graph needs, and nothing that only training needed."""

from .arrays import FoldedConditioner, FoldedConv, FoldedGlow, FoldedLevel, FoldedPrior, FoldedStep

__all__ = [
    "FoldedConditioner",
    "FoldedConv",
    "FoldedGlow",
    "FoldedLevel",
    "FoldedPrior",
    "FoldedStep",
]

"""Exact graphs as engines like all others: latents as standard normal numbers."""

from __future__ import annotations

import numpy as np

from glow_deploy.artifact.signature import EXACT
from glow_deploy.protocol import Engine, TensorSpec

from .base import EngineBase

__all__ = ["ExactEngine", "as_it_is", "like_others"]


def like_others(engine: Engine) -> Engine:
    """Return an engine whose latents are standard normal numbers: itself, unless its graph gives integers."""
    return ExactEngine(engine) if engine.details.precision == EXACT else engine


def as_it_is(engine: Engine) -> Engine:
    """Return the engine whose tensors are those of the graph: integers, where it is exact. It undoes `like_others`."""
    return engine.integers if isinstance(engine, ExactEngine) else engine


class ExactEngine(EngineBase):
    """Shows an exact encoder or decoder with the tensors of any other.

    The encoder gives its integers as standard normal numbers; the decoder rounds those to the very same integers, and
    numbers drawn or edited to the nearest ones. An image or a latent that is not in range has no exact result: its
    numbers are NaN, which every tool refuses, counts or draws anew.

    Args:
        integers: the engine of the graph as it is, whose latents are integers.
    """

    def __init__(self, integers: Engine) -> None:
        self.integers = integers
        super().__init__(
            role=integers.role,
            n_bits=integers.n_bits,
            inputs=[spec for spec in integers.inputs if _is_shown(spec)],
            outputs=[spec for spec in integers.outputs if _is_shown(spec)],
            details=integers.details,
            num_classes=integers.num_classes,
        )

    def _run(self, arrays: dict[str, np.ndarray], batch: int) -> dict[str, np.ndarray]:
        if self.role == "encoder":
            found = self.integers.run(arrays)
            results = {spec.name: found[_normal(spec.name)] for spec in self.outputs}
        else:
            found = self.integers.run({**arrays, "as_normal": np.ones((batch, 1, 1, 1), dtype=np.float32)})
            results = {"x": found["x"]}
        outside = found["in_range"] != 1.0
        if outside.any():
            results = {name: array.copy() for name, array in results.items()}
            for array in results.values():
                array[outside] = np.nan
        return results

    def _close(self) -> None:
        self.integers.close()


def _is_shown(spec: TensorSpec) -> bool:
    return spec.name[:1] == "z" or spec.name in ("x", "y", "log_prob")


def _normal(name: str) -> str:
    """The tensor of standard normal numbers beside one of integers."""
    return name.replace("z", "normal")

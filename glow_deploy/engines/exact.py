"""Exact graphs as engines like all others: latents as standard normal numbers."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Self

import numpy as np

from glow_deploy.artifact.signature import EXACT
from glow_deploy.protocol import Engine, EngineDetails, Role, TensorSpec

__all__ = ["ExactEngine", "like_others"]


def like_others(engine: Engine) -> Engine:
    """Return an engine whose latents are standard normal numbers: itself, unless its graph gives integers."""
    return ExactEngine(engine) if engine.details.precision == EXACT else engine


class ExactEngine:
    """Shows an exact encoder or decoder with the tensors of any other.

    The encoder gives its integers as standard normal numbers; the decoder rounds those to the very same integers, and
    numbers drawn or edited to the nearest ones. An image or a latent that is not in range has no exact result: its
    numbers are NaN, which every tool refuses, counts or draws anew.

    Args:
        integers: the engine of the graph as it is, whose latents are integers.
    """

    def __init__(self, integers: Engine) -> None:
        self.integers = integers
        latents = tuple(spec for spec in integers.inputs + integers.outputs if spec.name[:1] == "z")
        encoder = integers.role == "encoder"
        known = ("x", "y", "log_prob")
        self._inputs = tuple(spec for spec in integers.inputs if spec in latents or spec.name in known)
        self._outputs = tuple(spec for spec in integers.outputs if spec in latents or spec.name in known)
        self._latents = tuple(spec.name for spec in latents) if encoder else ()

    @property
    def role(self) -> Role:
        """Which direction the engine computes."""
        return self.integers.role

    @property
    def n_bits(self) -> int:
        """Bit depth of the model's pixels."""
        return self.integers.n_bits

    @property
    def num_classes(self) -> int | None:
        """K of a class-conditional model."""
        return self.integers.num_classes

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""
        return self._inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` gives."""
        return self._outputs

    @property
    def details(self) -> EngineDetails:
        """What really runs."""
        return self.integers.details

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run one batch.

        Args:
            feeds: as for every engine.

        Returns:
            Likewise; rows that are not in range hold NaN.

        Raises:
            EngineError: a name, dtype or shape does not fit, or the backend failed.
        """
        if self.role == "encoder":
            found = self.integers.run(feeds)
            results = {name: found[name.replace("z", "normal")] for name in self._latents}
            results["log_prob"] = found["log_prob"]
        else:
            rows = next((len(array) for array in feeds.values() if np.ndim(array)), 0)
            found = self.integers.run({**feeds, "as_normal": np.ones((rows, 1, 1, 1), dtype=np.float32)})
            results = {"x": found["x"]}
        outside = found["in_range"] != 1.0
        if outside.any():
            results = {name: array.copy() for name, array in results.items()}
            for array in results.values():
                array[outside] = np.nan
        return results

    def close(self) -> None:
        """Give memory and device back."""
        self.integers.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

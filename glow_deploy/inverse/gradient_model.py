"""What inverse problems need of a model: both directions, and gradients through them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from glow_deploy.engines.example import example_pair
from glow_deploy.protocol import Engine

__all__ = ["ExampleGradient", "GradientModel"]

FloatArray = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64] | None


class GradientModel(Protocol):
    """A trained model that can be differentiated: `engines.pytorch_gradient.ModelGradient`."""

    @property
    def encoder(self) -> Engine:
        """The model from images to latents."""
        ...

    @property
    def decoder(self) -> Engine:
        """The same model from latents to images."""
        ...

    def decode_gradient(
        self, z: Sequence[FloatArray], y: Labels, slope: Callable[[FloatArray], FloatArray]
    ) -> tuple[FloatArray, tuple[FloatArray, ...]]:
        """Decode latents to x, and give the gradient by them of the loss whose gradient by x is `slope(x)`."""
        ...

    def log_prob_gradient(self, x: FloatArray, y: Labels) -> tuple[FloatArray, FloatArray]:
        """Give log p(x) [N] of images [N, C, H, W], and its gradient."""
        ...


class ExampleGradient:
    """The flow z = 4 (x - 0.5) of `example_pair`, with the gradients worked out by hand.

    Args:
        size: (H, W), both even.
        channels: 1 or more.
        n_bits: 1..8.

    Examples:
        >>> model = ExampleGradient(size=(2, 2))
        >>> x = np.full((1, 1, 2, 2), 0.75, np.float32)
        >>> log_prob, gradient = model.log_prob_gradient(x, None)  # -z^2/2, by x: -4 z
        >>> gradient.ravel().tolist()
        [-4.0, -4.0, -4.0, -4.0]
    """

    def __init__(self, *, size: tuple[int, int] = (4, 4), channels: int = 1, n_bits: int = 5) -> None:
        self.encoder, self.decoder = example_pair(size=size, channels=channels, n_bits=n_bits)

    def decode_gradient(
        self, z: Sequence[FloatArray], y: Labels, slope: Callable[[FloatArray], FloatArray]
    ) -> tuple[FloatArray, tuple[FloatArray, ...]]:
        """See `GradientModel`: x = z / 4 + 0.5, so the gradient by z is a quarter of that by x."""
        names = [spec.name for spec in self.decoder.inputs]
        x = self.decoder.run({name: np.asarray(level, np.float32) for name, level in zip(names, z, strict=True)})["x"]
        # The encoder puts the numbers of an image in the order of the latents, and multiplies them by 4.
        ordered = self.encoder.run({"x": (np.asarray(slope(x)) / 16 + 0.5).astype(np.float32)})
        return x, tuple(ordered[name] for name in names)

    def log_prob_gradient(self, x: FloatArray, y: Labels) -> tuple[FloatArray, FloatArray]:
        """See `GradientModel`: log p(x) = -8 |x - 0.5|^2 and a constant."""
        return self.encoder.run({"x": np.asarray(x, np.float32)})["log_prob"], -16 * (np.asarray(x) - 0.5)

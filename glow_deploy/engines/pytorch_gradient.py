"""The gradient of a trained model's own round-trip error, in float32. Needs torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from glow_deploy.errors import EngineError, MissingDependencyError

if TYPE_CHECKING:
    from torch import Tensor

    from glow_core import Glow

__all__ = ["RoundTripGradient", "open_gradient"]

Float32Array = npt.NDArray[np.float32]


class RoundTripGradient:
    """Computes x -> z -> x of a `glow_core.Glow`, and where the squared error rises.

    In exact arithmetic the error is zero everywhere. What is differentiated here is the computation as float32 carries
    it out, as Behrmann et al. (2021) do: the gradient is small and noisy where the inverse is sound, and points towards
    the breakdown where it is not.

    Args:
        model: in evaluation mode, float32; it is used as it is, and its weights get no gradients.
    """

    def __init__(self, model: Glow) -> None:
        self._model = model

    def round_trip(self, x: Float32Array, y: npt.NDArray[np.int64] | None) -> Float32Array:
        """Encode and decode.

        Args:
            x: float32 [N, C, H, W].
            y: labels [N] of a class-conditional model.

        Returns:
            The reconstructions, float32, possibly non-finite.

        Raises:
            EngineError: torch failed.
        """
        import torch

        with torch.inference_mode():
            return np.asarray(self._reconstruct(torch.tensor(x), y).numpy())

    def ascend(self, x: Float32Array, y: npt.NDArray[np.int64] | None) -> tuple[Float32Array, Float32Array]:
        """Encode and decode, and differentiate |x_hat - x|^2 of each image by x.

        Args:
            x: float32 [N, C, H, W].
            y: labels [N] of a class-conditional model.

        Returns:
            The reconstructions and the gradients, both float32 and of the shape of `x`, possibly non-finite.

        Raises:
            EngineError: torch failed.
        """
        import torch

        leaf = torch.tensor(x, requires_grad=True)
        x_hat = self._reconstruct(leaf, y)
        # The images of a batch do not touch one another, so the gradient of the sum holds that of each.
        (gradient,) = torch.autograd.grad((x_hat - leaf).square().sum(), leaf)
        return np.asarray(x_hat.detach().numpy()), np.asarray(gradient.numpy())

    def _reconstruct(self, x: Tensor, y: npt.NDArray[np.int64] | None) -> Tensor:
        import torch

        labels = None if y is None or self._model.config.num_classes is None else torch.tensor(y)
        try:
            latents, _ = self._model.encode(x, labels)
            return self._model.decode(latents, labels)
        except RuntimeError as error:
            reason = str(error).splitlines()[0][:300]
            raise EngineError(f"PyTorch failed on a batch of {len(x)}: {reason}") from None


def open_gradient(
    source: str | Path | Glow, *, weights: Literal["ema", "raw"] = "ema", options: Mapping[str, Any] | None = None
) -> RoundTripGradient:
    """Open a trained model in float32 on the CPU for its gradient.

    Args:
        source: a checkpoint file, or a model, which is copied and so stays as it is.
        weights: for a checkpoint file, averaged weights where there are any (`ema`), or those trained (`raw`).
        options: for another project's checkpoint file, what it does not say, by the names of `ImportOptions`.

    Raises:
        MissingDependencyError: torch is not there.
        glow_core.errors.CheckpointError: the checkpoint cannot be read.
    """
    try:
        import torch
    except ImportError:
        raise MissingDependencyError(
            "The half-bin attack needs torch, which is not installed: pip install 'glow-deploy[train]'."
        ) from None
    import copy

    from glow_core import Glow, ImportOptions, load_checkpoint

    if isinstance(source, Glow):
        model = copy.deepcopy(source)
    else:
        model = load_checkpoint(source, weights=weights, options=ImportOptions.from_dict(options or {}))
    return RoundTripGradient(model.to(dtype=torch.float32).eval().requires_grad_(requires_grad=False))

"""Gradients through a trained model: of its round-trip error, of what it decodes, of its likelihood. Needs torch."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glow_core.config import Weights
from glow_deploy.errors import EngineError, MissingDependencyError

from .pytorch import Precision, PyTorchEngine, full_precision, load_model, read_model
from .trained import Trained

if TYPE_CHECKING:
    from torch import Tensor

    from glow_core import Glow

__all__ = ["ModelGradient", "RoundTripGradient", "open_gradient", "open_model_gradient"]

Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.floating]
Labels = npt.NDArray[np.int64] | None


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
            return np.asarray(self._reconstruct(torch.tensor(x, device="cpu"), y).numpy())

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

        leaf = torch.tensor(x, device="cpu", requires_grad=True)
        x_hat = self._reconstruct(leaf, y)
        # The images of a batch do not touch one another, so the gradient of the sum holds that of each.
        (gradient,) = torch.autograd.grad((x_hat - leaf).square().sum(), leaf)
        return np.asarray(x_hat.detach().numpy()), np.asarray(gradient.numpy())

    def _reconstruct(self, x: Tensor, y: npt.NDArray[np.int64] | None) -> Tensor:
        import torch

        labels = None if y is None or self._model.config.num_classes is None else torch.tensor(y, device="cpu")
        try:
            latents, _ = self._model.encode(x, labels)
            return self._model.decode(latents, labels)
        except RuntimeError as error:
            reason = str(error).splitlines()[0][:300]
            raise EngineError(f"PyTorch failed on a batch of {len(x)}: {reason}") from None


class ModelGradient:
    """Both directions of a `glow_core.Glow` as engines, and the gradients of what comes out by what goes in.

    Losses are functions of arrays, so that whoever states them needs no torch.

    Args:
        model: in evaluation mode, its weights without gradients, on the device and of the dtype it is to run in.
    """

    def __init__(self, model: Glow) -> None:
        self._model = model
        self.encoder = PyTorchEngine(model, role="encoder")
        self.decoder = PyTorchEngine(model, role="decoder")

    def decode_gradient(
        self, z: Sequence[FloatArray], y: Labels, slope: Callable[[FloatArray], FloatArray]
    ) -> tuple[FloatArray, tuple[FloatArray, ...]]:
        """Decode latents, and differentiate a loss of the image by them.

        Args:
            z: z1 ... zL, each [N, C, H, W].
            y: labels [N] of a class-conditional model, else None.
            slope: gives the gradient of the loss by x, [N, C, H, W], at the x it is called with.

        Returns:
            x [N, C, H, W], not clamped, and the gradient by each of the latents; all possibly non-finite, the rows
            each by themselves.

        Raises:
            EngineError: torch failed.
        """
        import torch

        like = next(self._model.parameters())
        with self._guarded(len(z[0])):
            leaves = [torch.tensor(level, dtype=like.dtype, device=like.device, requires_grad=True) for level in z]
            x = self._model.decode(leaves, self._labels(y))
            image = x.detach().cpu().numpy()
            outer = torch.tensor(slope(image), dtype=like.dtype, device=like.device)
            found = torch.autograd.grad(x, leaves, grad_outputs=outer)
            return image, tuple(gradient.cpu().numpy() for gradient in found)

    def log_prob_gradient(self, x: FloatArray, y: Labels) -> tuple[FloatArray, FloatArray]:
        """Measure the likelihood of images, and differentiate it by them.

        Args:
            x: [N, C, H, W].
            y: labels [N] of a class-conditional model, else None.

        Returns:
            log p(x) [N] in nats, and its gradient [N, C, H, W]; possibly non-finite.

        Raises:
            EngineError: torch failed.
        """
        import torch

        like = next(self._model.parameters())
        with self._guarded(len(x)):
            leaf = torch.tensor(x, dtype=like.dtype, device=like.device, requires_grad=True)
            log_prob = self._model.log_prob(leaf, self._labels(y))
            # The images of a batch do not touch one another, so the gradient of the sum holds that of each.
            (gradient,) = torch.autograd.grad(log_prob.sum(), leaf)
            return log_prob.detach().cpu().numpy(), gradient.cpu().numpy()

    def model_id(self) -> str:
        """That of the bundles exported from this model: the sha256 of its folded weights.

        Raises:
            CheckpointError: the model cannot be folded.
        """
        from glow_deploy.folding.fold import fold

        return fold(self._model).model_id()

    def _labels(self, y: Labels) -> Tensor | None:
        import torch

        if y is None:
            return None
        return torch.tensor(y, device=next(self._model.parameters()).device)

    @contextlib.contextmanager
    def _guarded(self, batch: int) -> Iterator[None]:
        try:
            with full_precision(next(self._model.parameters()).device.type):
                yield
        except RuntimeError as error:
            reason = str(error).splitlines()[0][:300]
            raise EngineError(f"PyTorch failed on a batch of {batch}: {reason}") from None


def open_gradient(
    source: str | Path | Trained | Glow,
    *,
    weights: Weights = "ema",
    options: Mapping[str, Any] | None = None,
) -> RoundTripGradient:
    """Open a trained model in float32 on the CPU for its gradient.

    Args:
        source: a checkpoint file, alone or with what a bundle tells about it, or a model, which is copied and so stays
            as it is.
        weights: for a checkpoint file alone, averaged weights where there are any (`ema`), or those trained (`raw`).
        options: for another project's checkpoint file alone, what it does not say, by the names of `ImportOptions`.

    Raises:
        MissingDependencyError: torch is not there.
        glow_core.errors.CheckpointError: the checkpoint cannot be read. Further errors, with a `Trained`: see
            `read_model` of `pytorch`.
    """
    try:
        import torch
    except ImportError:
        raise MissingDependencyError(
            "the half-bin attack needs torch, which is not installed: pip install 'glow-deploy[train]'"
        ) from None
    import copy

    from glow_core import Glow

    model = copy.deepcopy(source) if isinstance(source, Glow) else read_model(source, weights=weights, options=options)
    return RoundTripGradient(model.to(dtype=torch.float32).eval().requires_grad_(requires_grad=False))


def open_model_gradient(
    source: str | Path | Glow,
    *,
    precision: Precision = "fp32",
    device: str = "cpu",
    threads: int | None = None,
    weights: Weights = "ema",
    options: Mapping[str, Any] | None = None,
) -> ModelGradient:
    """Open a trained model for optimising over its latents or its images.

    Args:
        source: a checkpoint file, or a model, which is copied and so stays as it is.
        precision: `fp32`, or `fp64`, which takes about twice the time.
        device: `cpu`, `cuda`, `cuda:N` or `auto`. On CUDA, TF32 is off.
        threads: CPU threads of torch, in this whole process; None leaves them as they are.
        weights: for a checkpoint file, averaged weights where there are any (`ema`), or those trained (`raw`).
        options: for another project's checkpoint file, what it does not say, by the names of `ImportOptions`.

    Raises:
        MissingDependencyError: torch, or the CUDA device asked for, is not there.
        glow_core.errors.CheckpointError: the checkpoint cannot be read.
        UsageError: no such device name.
    """
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return ModelGradient(load_model(source, precision=precision, device=device, weights=weights, options=options))

"""The trained model in float64 and float32 PyTorch: the reference, and the yardstick of every later error."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch

from glow_core import Glow
from glow_deploy.engines.pytorch import full_precision

from .coded import Coded

__all__ = ["TrainedReference"]

_CONDITIONER_WEIGHT = re.compile(r"\.conditioner\.conv[123]\.weight$")
_BATCH = 16  # bounds memory; rows do not influence each other


class TrainedReference:
    """Runs one trained model in float64 and in float32 on the CPU, whatever torch's settings allow for float32.

    Args:
        glow: in float32; not changed.
    """

    def __init__(self, glow: Glow) -> None:
        self.config = glow.config
        self._single = glow
        self._double: Glow | None = None  # made when first needed: twice the size of the model

    @property
    def single(self) -> Glow:
        """The model in float32."""
        return self._single

    def sample_images(self, count: int, *, temperature: float, seed: int, y: np.ndarray | None) -> np.ndarray:
        """Draw images from the model and set them to bin centres, float32 [count,C,H,W]; non-finite draws stay NaN."""
        generator = torch.Generator().manual_seed(seed)
        draws = []
        for first in range(0, count, _BATCH):
            size = min(_BATCH, count - first)
            labels = None if y is None else torch.from_numpy(y[first : first + size])
            with full_precision("cpu"):
                drawn = self.single.sample(size, temperature=temperature, generator=generator, y=labels)
            draws.append(drawn.numpy())
        x = np.concatenate(draws)
        bins = 2**self.config.n_bits
        pixels = np.clip(np.floor(x * bins), 0, bins - 1)
        centred: np.ndarray = np.where(np.isfinite(x), (pixels + 0.5) / bins, np.nan).astype(np.float32)
        return centred

    def code(
        self,
        precision: Literal["fp64", "fp32"],
        x: np.ndarray,
        y: np.ndarray | None,
        *,
        progress: Callable[[int], None] | None = None,
    ) -> Coded:
        """Encode images [N,C,H,W] and decode their latents; `progress` is told the images done."""
        model = self._single if precision == "fp32" else self._in_double()
        dtype = torch.float32 if precision == "fp32" else torch.float64
        latents: list[list[np.ndarray]] = []
        log_probs, decoded = [], []
        with torch.inference_mode(), full_precision("cpu"):
            for first in range(0, len(x), _BATCH):
                rows = slice(first, first + _BATCH)
                labels = None if y is None else torch.from_numpy(y[rows])
                z, log_prob = model.encode(torch.from_numpy(x[rows]).to(dtype), labels)
                latents.append([part.numpy() for part in z])
                log_probs.append(log_prob.numpy())
                decoded.append(model.decode(z, labels).numpy())
                if progress is not None:
                    progress(min(first + _BATCH, len(x)))
        return Coded(
            x=x,
            z=tuple(np.concatenate(parts) for parts in zip(*latents, strict=True)),
            log_prob=np.concatenate(log_probs),
            x_hat=np.concatenate(decoded),
            y=y,
        )

    def encode_again(self, coded: Coded) -> tuple[np.ndarray, ...]:
        """Encode the decodes of `coded` in float32: the latents after z -> x -> z."""
        model = self._single
        latents = []
        with torch.inference_mode(), full_precision("cpu"):
            for first in range(0, len(coded.x), _BATCH):
                rows = slice(first, first + _BATCH)
                labels = None if coded.y is None else torch.from_numpy(coded.y[rows])
                z, _ = model.encode(torch.from_numpy(coded.x_hat[rows]).float(), labels)
                latents.append([part.numpy() for part in z])
        return tuple(np.concatenate(parts) for parts in zip(*latents, strict=True))

    def _in_double(self) -> Glow:
        if self._double is None:
            self._double = _in_double(self._single)
        return self._double


def _in_double(glow: Glow) -> Glow:
    """The model in float64, but for the conditioners' weights: those are widened where they are used.

    They are nearly all of a model's bytes, and a full-size model's 350 MB in float64 would be needed only for this.
    """
    with torch.device("meta"):
        double = Glow(glow.config)
    state = {
        name: tensor.double() if tensor.is_floating_point() and not _CONDITIONER_WEIGHT.search(name) else tensor
        for name, tensor in glow.state_dict().items()
    }
    double.load_state_dict(state, assign=True)
    return double.train(glow.training)

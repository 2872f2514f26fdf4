"""A model made ready to train: for a run, for a plan of one, and to foretell what a device keeps of it."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from glow_core.config import GlowConfig
from glow_core.errors import TrainingError
from glow_core.flows.conditioner import Conditioner
from glow_core.model import Glow

from .precision import set_precision
from .rounding import round_conditioners
from .settings import Precision, TrainSettings

__all__ = ["Computing", "check_exact_aware", "new_model", "prepare"]

# Below this width the conversions cost more than the faster convolutions save (measured on two CPU cores).
_CHANNELS_LAST_WIDTH = 256


def check_exact_aware(config: GlowConfig, settings: TrainSettings) -> None:
    """Refuse to round the conditioners of a model that has no exact graphs.

    Raises:
        TrainingError: its couplings are affine.
    """
    if settings.exact_aware and config.coupling != "additive":
        raise TrainingError(
            "exact_aware=True is for models that have exact graphs, and this one's couplings are affine"
        )


def new_model(config: GlowConfig, settings: TrainSettings, device: torch.device) -> Glow:
    """Return fresh weights on a device, in the memory format that they train in."""
    model = Glow(config).to(device)
    wide = config.width >= _CHANNELS_LAST_WIDTH and device.type == "cpu"
    if wide if settings.channels_last is None else settings.channels_last:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return model


def prepare(model: Glow, settings: TrainSettings) -> None:
    """Let an initialised model compute as it does in training; averaged weights are set apart before."""
    set_precision(model.train(), settings.precision)
    if settings.exact_aware:
        round_conditioners(model)


@dataclass(frozen=True, kw_only=True)
class Computing:
    """How conditioners compute, of which hangs what they keep for the backward pass.

    Attributes:
        precision: as in `TrainSettings`.
        exact_aware: as in `TrainSettings`.
        convolved: by torch's convolutions, as everywhere but on a CPU.
    """

    precision: Precision = "float32"
    exact_aware: bool = False
    convolved: bool = False

    @classmethod
    def of(cls, settings: TrainSettings, device: torch.device) -> Computing:
        """Return that of a run."""
        return cls(precision=settings.precision, exact_aware=settings.exact_aware, convolved=device.type != "cpu")

    def set(self, model: Glow) -> None:
        """Let the conditioners of a model on a CPU compute so, as long as none of them is to be initialised."""
        set_precision(model, self.precision)
        if self.convolved:
            for module in model.modules():
                if isinstance(module, Conditioner):
                    module.computes = _convolved
        if self.exact_aware:
            round_conditioners(model)


def _convolved(net: Conditioner, x: Tensor) -> Tensor:
    return net.by_convolutions(x, arithmetic=net.arithmetic)

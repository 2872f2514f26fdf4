"""Training in mixed precision: the convolutions of the conditioners in bfloat16, all else in float32.

The trunk, log-determinants, priors, gradients and weights stay in float32, as in a deployed graph of mixed precision.
What a conditioner says is off by a part in some hundred; that it is invertible does not hang on it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from glow_core.errors import TrainingError
from glow_core.flows.conditioner import Conditioner

from .settings import Precision

__all__ = ["check_precision", "in_full_precision", "multiplies_bfloat16", "set_precision"]


def check_precision(precision: Precision, device: torch.device) -> None:
    """Refuse a precision that a device is slower in than in float32.

    Raises:
        TrainingError: it has no instructions for it.
    """
    if precision == "bf16-mixed" and not multiplies_bfloat16(device):
        what = "this CPU (AVX-512 BF16 or AMX)" if device.type == "cpu" else "this GPU"
        raise TrainingError(
            f"precision bf16-mixed would be slower than float32: {what} has no bfloat16 arithmetic; leave it away"
        )


def multiplies_bfloat16(device: torch.device) -> bool:
    """Tell whether a device has instructions for products of bfloat16."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    features = torch.cpu.get_capabilities()
    return any(bool(features.get(name)) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def set_precision(model: nn.Module, precision: Precision) -> None:
    """Let all conditioners of a model compute in a precision from now on."""
    arithmetic = torch.bfloat16 if precision == "bf16-mixed" else None
    for conditioner in _conditioners(model):
        conditioner.arithmetic = arithmetic


@contextmanager
def in_full_precision(model: nn.Module) -> Iterator[None]:
    """Let all conditioners of a model compute in the dtype of their input and without rounding, for a while."""
    before = [(conditioner, conditioner.arithmetic, conditioner.computes) for conditioner in _conditioners(model)]
    set_precision(model, "float32")
    for conditioner, _, _ in before:
        conditioner.computes = None
    try:
        yield
    finally:
        for conditioner, arithmetic, computes in before:
            conditioner.arithmetic, conditioner.computes = arithmetic, computes


def _conditioners(model: nn.Module) -> list[Conditioner]:
    return [module for module in model.modules() if isinstance(module, Conditioner)]

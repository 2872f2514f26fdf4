"""How large a model is, from its description alone."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from glow_core.config import GlowConfig
from glow_core.model import Glow

__all__ = ["ModelCost", "model_cost"]


@dataclass(frozen=True, kw_only=True)
class ModelCost:
    """Size of a model.

    Attributes:
        parameters: numbers that training changes.
        multiply_adds: of encoding one image. Training on it takes about three times as many.
    """

    parameters: int
    multiply_adds: int


def model_cost(config: GlowConfig) -> ModelCost:
    """Count a model's parameters and multiply-adds. Nothing of its size is allocated."""
    with torch.device("meta"):
        model = Glow(config)
    # Nearly all weights belong to convolutions, which use each of them once a pixel.
    multiply_adds = sum(
        height * width * sum(parameter.numel() for parameter in level.parameters())
        for level, (_, height, width) in zip(model.flow_levels(), config.level_shapes, strict=True)
    )
    return ModelCost(parameters=sum(p.numel() for p in model.parameters()), multiply_adds=multiply_adds)

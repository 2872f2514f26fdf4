"""What tests of several packages share."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from glow_deploy.runtime import TELEMETRY_VARIABLE

if TYPE_CHECKING:
    from glow_core import Glow, GlowConfig


# Before a test imports ONNX Runtime on its own: no test run reports to anybody.
os.environ.setdefault(TELEMETRY_VARIABLE, "1")


@pytest.fixture(scope="session")
def perturbed_glow() -> Callable[..., Glow]:
    """Build a Glow whose every weight has moved: fresh couplings are the identity and hide bugs."""

    def build(config: GlowConfig, *, seed: int = 0, strength: float = 0.05) -> Glow:
        import torch

        from glow_core import Glow

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            glow = Glow(config)
            images = torch.rand(16, config.channels, *config.image_size)
            labels = None if config.num_classes is None else torch.arange(16) % config.num_classes
            glow.initialize(images, labels)
            with torch.no_grad():
                for parameter in glow.parameters():
                    # By fan-in, so that a wide 1x1 convolution stays as far from singular as a narrow one.
                    fan_in = parameter[0].numel() if parameter.dim() > 1 else 1
                    parameter.add_(strength * torch.randn_like(parameter) / max(1.0, fan_in / 12) ** 0.5)
        return glow.eval()

    return build

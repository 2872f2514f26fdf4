"""The one frozen setting of the demo: small enough for minutes on two CPU cores. No torch here."""

from __future__ import annotations

from dataclasses import replace

from glow_core.config import GlowConfig

from .settings import TrainSettings

__all__ = ["demo_config", "demo_settings"]


def demo_config(*, quick: bool = False) -> GlowConfig:
    """Return the demo's model: 16x16 RGB at 5 bits, 332,144 parameters, bounded affine couplings.

    Args:
        quick: a much smaller model, which shows that every step works and draws no faces.
    """
    steps, width = (2, 16) if quick else (8, 64)
    return GlowConfig(image_size=(16, 16), channels=3, levels=2, steps=steps, width=width, n_bits=5)


def demo_settings(*, quick: bool = False) -> TrainSettings:
    """Return the demo's training: ended by time, so that the demo takes as long on a slow machine as on a fast one.

    The learning rate is ten times the usual one and falls linearly over the second half: after 250 steps that gave 2.26
    to 2.35 bits/dim with three seeds, where 0.001 gave 3.11. 900 steps gave 1.79, and no sample at temperature 1 out
    of 10,000 was not finite.

    Args:
        quick: a few dozen steps.
    """
    settings = TrainSettings(
        max_seconds=165.0,
        batch_size=64,
        learning_rate=1e-2,
        warmup_steps=50,
        decay=0.5,
        clip_norm=20.0,  # the largest of 900 steps was 17, so it binds only where a step would go wrong
        ema_decay=0.995,
        validate_every=200,
        validation_images=256,
        checkpoint_every=None,
        checkpoint_seconds=20.0,
        sample_every=200,
        sample_count=64,
        device="cpu",
        threads=1,  # at this size two threads wait for each other: 80 steps took 16 s on one and 19 s on two
        tensorboard=False,
    )
    if quick:
        return replace(settings, max_seconds=None, max_steps=40, warmup_steps=10, validation_images=64, sample_count=16)
    return settings

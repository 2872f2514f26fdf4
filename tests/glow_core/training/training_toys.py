"""A data set, a model and settings small enough to train in a second; shared with the processes the tests kill."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from glow_core.config import GlowConfig
from glow_core.training import ArrayImages, TrainSettings

# What a row says about the curve; the time it took is not part of it.
CURVE = ("step", "epoch", "bits_per_dim", "grad_norm", "learning_rate", "validation_bits_per_dim")


def toy_images(count: int = 120, *, seed: int = 0, classes: int | None = None) -> ArrayImages:
    """Noisy ramps, 8x8 grey; with classes the brightness says which."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes or 1, count)
    ramp = np.linspace(60, 120, 8)[None, None, :, None] + 60.0 * labels[:, None, None, None]
    pixels = np.clip(ramp + rng.normal(0, 12, (count, 1, 8, 8)), 0, 255).astype(np.uint8)
    return ArrayImages(pixels=pixels, labels=None if classes is None else labels.astype(np.int64))


def toy_config(**changes: object) -> GlowConfig:
    values = {"image_size": (8, 8), "channels": 1, "levels": 2, "steps": 1, "width": 8, "n_bits": 5}
    return GlowConfig(**{**values, **changes})


def toy_settings(**changes: object) -> TrainSettings:
    values = {
        "max_steps": 24,
        "batch_size": 16,
        "warmup_steps": 5,
        "learning_rate": 5e-3,
        "ema_decay": 0.9,
        "validate_every": 8,
        "checkpoint_every": 8,
        "sample_every": None,
        "sample_count": 4,
        "golden_images": 10,
        "threads": 1,
        "device": "cpu",
        "tensorboard": False,
    }
    return TrainSettings(**{**values, **changes})


def toy_training(out: Path | str, *, config: GlowConfig | None = None, classes: int | None = None, **options):
    """Run `train` on the toys; settings and options of `train` mixed."""
    from glow_core.training import train

    own = ("resume", "overwrite", "initial", "progress", "sample_writer", "notes", "train_images", "validation_images")
    own += ("on_forecast",)
    given = {name: options.pop(name) for name in own if name in options}
    given.setdefault("train_images", toy_images(classes=classes))
    given.setdefault("validation_images", toy_images(40, seed=1, classes=classes))
    config = config or toy_config(num_classes=classes)
    return train(config, out=out, settings=toy_settings(**options), **given)


def curve(out: Path | str) -> list[tuple[str, ...]]:
    """The rows of log.csv as text, which is exact."""
    with (Path(out) / "log.csv").open() as handle:
        return [tuple(row[name] for name in CURVE) for row in csv.DictReader(handle)]

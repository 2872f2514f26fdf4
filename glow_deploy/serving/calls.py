"""What the models for scoring and sampling do with a request, wherever they run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import x_to_values
from glow_deploy.latents import SampleSettings, concatenate_samples, sample
from glow_deploy.latents.specs import conditional
from glow_deploy.protocol import Engine
from glow_deploy.scoring import ScoreSettings, score_images

from .models import SAMPLES_AT_ONCE

__all__ = ["check_classes", "sample_call", "score_call"]

_MOST_DRAWS = 1024


def check_classes(engine: Engine, given: Mapping[str, np.ndarray]) -> None:
    """Refuse labels `y` that are no classes of the model, before anyone waits for an engine to do it.

    Raises:
        DataError: there is one.
    """
    labels, classes = given.get("y"), engine.num_classes
    if labels is None or classes is None or not labels.size:
        return
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"labels y must lie in 0..{classes - 1}, got {labels.min()}..{labels.max()}")


def score_call(encoder: Engine, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Score pictures: see `models.score_model` for what goes in and comes out.

    Raises:
        DataError: too many pictures, draws out of range, or what `score_images` refuses.
        UsageError: labels are missing or not wanted.
    """
    images = given["image"]
    if not 1 <= len(images) <= SAMPLES_AT_ONCE:
        raise DataError(f"image holds {len(images)} pictures; one request takes 1 to {SAMPLES_AT_ONCE}")
    draws = _one(given, "draws", 8)
    if not 1 <= draws <= _MOST_DRAWS:
        raise DataError(f"draws must be 1 to {_MOST_DRAWS}, got {draws}")
    settings = ScoreSettings(draws=draws, seed=_one(given, "seed", 0))
    found = score_images(encoder, images, settings=settings, labels=given.get("y"))
    return {
        "bits_per_dim": found.bits_per_dim,
        "log_prob": found.log_prob,
        "bits_per_dim_centre": found.bits_per_dim_centre,
        "level_squares": found.level_squares,
    }


def sample_call(decoder: Engine, given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Draw samples: see `models.sample_model` for what goes in and comes out.

    Raises:
        DataError: a number out of range, or a class that the model does not know.
        UsageError: classes are missing or not wanted.
        UnsoundModelError: a sample stays without finite values, however often it is drawn.
    """
    count, start = _one(given, "count", 1), _one(given, "start", 0)
    if not 1 <= count <= SAMPLES_AT_ONCE:
        raise DataError(f"count must be 1 to {SAMPLES_AT_ONCE}, got {count}")
    if not 0 <= start <= 2**62:
        raise DataError(f"start must be 0 or more, got {start}")
    labels = None
    if "y" in given:
        if not conditional(decoder):
            raise UsageError("this model is not class-conditional: leave y out")
        labels = tuple(given["y"].tolist())
    # Written in few digits, as people and command lines do: 0.7 is not the float32 nearest to it.
    told = given["temperature"].reshape(-1) if "temperature" in given else np.array([0.7], np.float32)
    temperatures = tuple(float(str(value)) for value in told)
    settings = SampleSettings(
        temperature=temperatures[0] if len(temperatures) == 1 else temperatures,
        seed=_one(given, "seed", 0),
        labels=labels,
    )
    drawn = concatenate_samples(sample(decoder, count=count, start=start, settings=settings))
    return {"image": x_to_values(drawn.x, decoder.n_bits), "redraws": drawn.attempts}


def _one(given: Mapping[str, Any], name: str, otherwise: int) -> int:
    if name not in given:
        return otherwise
    values = given[name].reshape(-1)
    if len(values) != 1:
        raise DataError(f"{name} must be one number, got {len(values)}")
    return int(values[0])

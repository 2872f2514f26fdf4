"""What `glow-deploy train` says before the first step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glow_core import GlowConfig
    from glow_core.training import Forecast, ModelCost

__all__ = ["cpu_warning", "forecast_words", "model_words", "spell_bytes", "spell_seconds"]

# Of the forward pass over a batch. One CPU core took 3 s for a step of 65e9.
_MUCH_FOR_A_CPU = 20e9
_SMALL = {"levels": 2, "steps": 8, "width": 64}
_WORTH_SAYING = 4  # a smaller model that is not so many times cheaper is no way out


def model_words(config: GlowConfig, cost: ModelCost) -> Iterator[str]:
    """Say what is trained: sizes of the images and of the model."""
    height, width = config.image_size
    channels = "1 channel" if config.channels == 1 else f"{config.channels} channels"
    yield f"images: {height}x{width} pixels, {channels}, {config.n_bits} bits"
    levels = "1 level" if config.levels == 1 else f"{config.levels} levels"
    steps = "1 step" if config.steps == 1 else f"{config.steps} steps"
    yield f"model: {levels} of {steps}, width {config.width}; {cost.parameters:,} parameters"


def cpu_warning(config: GlowConfig, *, batch_size: int, new: bool) -> str | None:
    """Return what to do about a model that is large for a CPU; None for one that is not.

    Args:
        config: of the model.
        batch_size: images of a step.
        new: the model's shape can still be chosen.
    """
    from glow_core.training import model_cost

    cost = model_cost(config)
    if cost.multiply_adds * batch_size < _MUCH_FOR_A_CPU:
        return None
    words = "warning: this model is large for a CPU. Train it on a GPU"
    small = {name: min(value, getattr(config, name)) for name, value in _SMALL.items()}
    factor = cost.multiply_adds / model_cost(replace(config, **small)).multiply_adds
    if not new:
        return f"{words}."
    if factor < _WORTH_SAYING:
        return f"{words}, or train on smaller images: give --image-size and --resize."
    options = " ".join(f"--{name} {value}" for name, value in small.items())
    return f"{words}, or train a smaller one: with {options} a step costs about {factor:.0f} times less."


def forecast_words(forecast: Forecast) -> str:
    """Say what the run will take."""
    steps = "1 step takes" if forecast.steps == 1 else f"{forecast.steps:,} steps take"
    how = "" if forecast.memory == "plain" else f" (--memory {forecast.memory})"
    return (
        f"forecast: about {spell_seconds(forecast.step_seconds)} a step, so {steps} about "
        f"{spell_seconds(forecast.seconds)}; about {spell_bytes(forecast.memory_bytes)} of memory "
        f"beside PyTorch's own{how}"
    )


def spell_seconds(seconds: float) -> str:
    """Spell a duration with two digits or so, in the unit that suits it."""
    for unit, size, enough in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172800)):
        if seconds < enough:
            return f"{_two_digits(seconds / size)} {unit}"
    return f"{_two_digits(seconds / 86400)} days"


def spell_bytes(number: int) -> str:
    """Spell a number of bytes with two digits or so."""
    return f"{_two_digits(number / 1e9)} GB" if number >= 1e9 else f"{_two_digits(number / 1e6)} MB"


def _two_digits(value: float) -> str:
    if value >= 10:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 1 else f"{value:.2g}"

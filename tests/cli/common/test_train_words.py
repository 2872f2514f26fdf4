"""What `train` says before the first step."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from glow_cli.common.train_words import cpu_warning, forecast_words, model_words, spell_seconds

from glow_core import GlowConfig
from glow_core.training import Forecast, demo_config, model_cost

FULL = GlowConfig(image_size=(32, 32), levels=3, steps=32, width=512)
SMALL = ("--levels", 1, "--steps", 1, "--width", 4, "--n-bits", 5, "--batch-size", 8, "--no-tensorboard")


@pytest.fixture
def images(place):
    values = np.random.default_rng(0).integers(0, 256, (40, 8, 4), dtype=np.uint8)
    np.savez(place / "images.npz", images=values)
    return place / "images.npz"


def test_the_size_of_images_and_model():
    assert list(model_words(FULL, model_cost(FULL))) == [
        "images: 32x32 pixels, 3 channels, 8 bits",
        "model: 3 levels of 32 steps, width 512; 44,152,272 parameters",
    ]
    grey = GlowConfig(image_size=(8, 4), channels=1, levels=1, steps=1, width=4, n_bits=5)
    assert next(model_words(grey, model_cost(grey))) == "images: 8x4 pixels, 1 channel, 5 bits"


def test_a_full_size_model_on_a_cpu_is_told_a_smaller_one():
    words = cpu_warning(FULL, batch_size=64, new=True)
    assert words is not None
    assert words.startswith("warning: this model is large for a CPU. Train it on a GPU, or train a smaller one: ")
    assert "with --levels 2 --steps 8 --width 64 a step costs about 91 times less" in words
    small = GlowConfig(image_size=(32, 32), levels=2, steps=8, width=64)
    assert model_cost(FULL).multiply_adds / model_cost(small).multiply_adds == pytest.approx(91, abs=0.5)
    assert cpu_warning(small, batch_size=64, new=True) is None
    assert cpu_warning(demo_config(), batch_size=64, new=True) is None


@pytest.mark.parametrize(
    ("size", "levels", "steps", "width"), [((16, 16), 3, 32, 512), ((64, 64), 4, 48, 512), ((32, 32), 3, 32, 256)]
)
def test_models_of_a_similar_cost_are_warned_of_too(size, levels, steps, width):
    config = GlowConfig(image_size=size, levels=levels, steps=steps, width=width)
    assert cpu_warning(config, batch_size=64, new=True) is not None


def test_the_advice_suits_the_run():
    """The shape of a resumed run is settled, and a small model on large images wants smaller images."""
    assert cpu_warning(FULL, batch_size=64, new=False) == "warning: this model is large for a CPU. Train it on a GPU."
    large = GlowConfig(image_size=(256, 256), levels=2, steps=8, width=64)
    words = cpu_warning(large, batch_size=64, new=True)
    assert words is not None
    assert "--image-size" in words
    assert "--resize" in words
    assert "--levels" not in words


def test_the_forecast_in_words():
    forecast = Forecast(step_seconds=0.0787, steps=7700, seconds=606.0, memory_bytes=64_467_264)
    assert forecast_words(forecast) == (
        "forecast: about 0.079 s a step, so 7,700 steps take about 10 min; about 64 MB of memory beside PyTorch's own"
    )
    low = Forecast(step_seconds=1.0, steps=2, seconds=2.0, memory_bytes=64_467_264, memory="reversible")
    assert forecast_words(low).endswith("about 64 MB of memory beside PyTorch's own (--memory reversible)")
    one = Forecast(step_seconds=13.1, steps=1, seconds=13.1, memory_bytes=6_796_892_544)
    assert "about 13 s a step, so 1 step takes about 13 s; about 6.8 GB" in forecast_words(one)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0.00123, "0.0012 s"), (0.54, "0.54 s"), (5.04, "5.0 s"), (119, "119 s"), (120, "2.0 min")),
        *((3600, "60 min"), (7200, "2.0 h"), (36000, "10 h"), (172800, "2.0 days"), (8_640_000, "100 days")),
    ],
)
def test_durations(seconds, words):
    assert spell_seconds(seconds) == words


def test_train_says_it_before_the_first_step(invoke, images):
    result = invoke("train", "--data", images, "--out", "run", "--max-steps", 3, "--device", "cpu", *SMALL)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[1] == "images: 8x4 pixels, 1 channel, 5 bits"
    assert re.fullmatch(r"model: 1 level of 1 step, width 4; \d+ parameters", lines[2])
    spoken = r"forecast: about \S+ m?s a step, so 3 steps take about \S+ s; about \S+ [MG]B of memory .*"
    assert re.fullmatch(spoken, lines[3]), lines[3]
    assert lines[4].startswith("step 3,")
    assert "warning" not in result.output
    resumed = invoke("train", "--resume", "run", "--max-steps", 4)
    assert "so 1 step takes about" in resumed.stdout


def test_train_warns_of_a_full_size_model_on_a_cpu(invoke, images, place, monkeypatch):
    """The default model; what would train it is put aside."""
    from glow_core import training

    calls = []
    monkeypatch.setattr(training, "train", lambda *a, **options: calls.append(options) or 1 / 0)
    values = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), dtype=np.uint8)
    np.savez(place / "colour.npz", images=values)
    result = invoke("train", "--data", "colour.npz", "--out", "run", "--max-steps", 3, "--device", "cpu")
    assert len(calls) == 1
    assert "warning: this model is large for a CPU" in result.stdout
    assert "--levels 2 --steps 8 --width 64" in result.stdout


@pytest.mark.parametrize("silent", ["--quiet", "--json"])
def test_nothing_of_it_reaches_quiet_runs_and_json(invoke, images, silent, monkeypatch):
    from glow_core.training import loop

    monkeypatch.setattr(loop, "forecast", lambda run: pytest.fail("nobody reads it, and it was measured"))
    words = (silent, "-") if silent == "--json" else (silent,)
    result = invoke("train", "--data", images, "--out", "run", "--max-steps", 1, *SMALL, *words)
    assert result.exit_code == 0, result.output
    if silent == "--json":
        assert json.loads(result.stdout)["step"] == 1
    else:
        assert result.stdout == ""

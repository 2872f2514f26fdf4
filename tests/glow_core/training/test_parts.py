"""Settings, sampler, noise, average, learning rate, fingerprints: the parts a run is made of."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from training_toys import toy_config, toy_images, toy_settings

from glow_core.errors import ConfigError, TrainingError
from glow_core.model import Glow
from glow_core.training import ArrayImages, TrainSettings
from glow_core.training.budget import Budget
from glow_core.training.data import check_images, fingerprint, read_batch, spread
from glow_core.training.devices import make_fabric
from glow_core.training.ema import AveragedWeights, decay_at
from glow_core.training.optimization import first_non_finite, learning_rate, make_optimizer
from glow_core.training.sampler import ShuffledSampler, dequantize, derive_seed


@pytest.mark.parametrize(
    "changes",
    [
        {"max_steps": None},
        {"max_steps": 0},
        {"batch_size": 0},
        {"batch_size": 1.5},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"clip_norm": float("inf")},
        {"clip_value": -1.0},
        {"ema_decay": 1.0},
        {"decay": 1.1},
        {"inverse_penalty": -0.1},
        {"inverse_penalty": float("nan")},
        {"inverse_penalty_at": "pixels"},
        {"inverse_penalty_every": 0},
        {"inverse_penalty_images": 1.5},
        {"conditioning_penalty": float("inf")},
        {"betas": (0.9,)},
        {"betas": (0.9, 1.0)},
        {"optimizer": "sgd"},
        {"device": "tpu"},
        {"device": "cpu:1"},
        {"seed": -1},
        {"threads": 0},
        {"max_seconds": 0.0},
        {"checkpoint_every": True},
    ],
)
def test_settings_refuse(changes: dict) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes)) if changes != {"max_steps": None} else "no end"):
        toy_settings(**changes)


def test_settings_survive_a_dictionary() -> None:
    settings = TrainSettings(max_epochs=1.5, betas=(0.8, 0.99), device="cuda:1")
    assert TrainSettings.from_dict(settings.to_dict()) == settings
    with pytest.raises(ConfigError, match="bogus"):
        TrainSettings.from_dict({**settings.to_dict(), "bogus": 1})


def test_settings_need_no_torch() -> None:
    code = (
        "import sys; from glow_core.training import TrainSettings, ArrayImages; print('torch' in sys.modules);"
        "from glow_core.training import train; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


@pytest.mark.parametrize(("length", "batch_size"), [(10, 4), (7, 7), (5, 12), (64, 1), (3, 2)])
def test_every_epoch_holds_each_image_once(length: int, batch_size: int) -> None:
    sampler = ShuffledSampler(length, batch_size=batch_size, seed=3)
    stream = np.concatenate([sampler.batch(step) for step in range(1, 5 * length + 1)])
    epochs = [stream[start : start + length] for start in range(0, len(stream) - length + 1, length)]
    assert all(sorted(epoch.tolist()) == list(range(length)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs[:4]}) > 1
    assert all(len(sampler.batch(step)) == batch_size for step in (1, 9, 2))


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    one, other = (ShuffledSampler(50, batch_size=8, seed=seed) for seed in (1, 2))
    forward = [one.batch(step).tolist() for step in range(1, 30)]
    fresh = ShuffledSampler(50, batch_size=8, seed=1)
    assert [fresh.batch(step).tolist() for step in range(29, 0, -1)] == forward[::-1]
    assert [other.batch(step).tolist() for step in range(1, 30)] != forward


def test_derived_seeds_differ() -> None:
    seeds = {
        derive_seed(seed, purpose, index) for seed in (0, 1) for purpose in ("noise", "order") for index in range(99)
    }
    assert len(seeds) == 2 * 2 * 99
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("n_bits", [1, 5, 8])
def test_dequantised_values_keep_their_pixel(n_bits: int) -> None:
    pixels = np.arange(2**n_bits, dtype=np.uint8).reshape(-1, 1, 1, 1)
    largest = torch.full(pixels.shape, 1 - 2**-24)
    for noise in (torch.zeros(pixels.shape), largest, torch.full(pixels.shape, 0.5)):
        x = dequantize(pixels, noise, n_bits=n_bits)
        assert x.dtype == torch.float32
        assert (torch.floor(x * 2**n_bits).numpy() == pixels).all()
        assert float(x.max()) < 1
    # The control: without care the largest noise rounds up to the next pixel value.
    assert float(torch.tensor(255.0) + largest.flatten()[0]) == 256.0


def test_noise_is_uniform() -> None:
    noise = torch.rand(20_000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    x = dequantize(np.zeros((20_000, 1, 1, 1), np.uint8), noise, n_bits=8) * 256
    assert float(x.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(x.var()) == pytest.approx(1 / 12, abs=0.003)


def test_average_follows_its_formula() -> None:
    torch.manual_seed(0)
    model = Glow(toy_config())
    average = AveragedWeights(model, decay=0.9)
    name = "levels.0.steps.0.coupling.conditioner.conv1.weight"
    expected = model.state_dict()[name].double().clone()
    for step in range(1, 30):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        average.update(model, step=step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * model.state_dict()[name].double()
    found = average.model.state_dict()[name]
    assert torch.allclose(found.double(), expected, atol=1e-5)
    assert not torch.allclose(found, model.state_dict()[name], atol=1e-2)
    assert (decay_at(1, decay=0.99), decay_at(10**6, decay=0.99)) == (pytest.approx(2 / 11), 0.99)


def test_average_copies_buffers_and_may_be_off() -> None:
    model = Glow(toy_config())
    average = AveragedWeights(model, decay=0.0)
    model.initialize(torch.rand(4, 1, 8, 8))
    assert not average.model.is_initialized
    average.update(model, step=1)
    ours = average.model.state_dict()
    assert average.model.is_initialized
    assert all(torch.equal(tensor, ours[name]) for name, tensor in model.state_dict().items())


def test_learning_rate_warms_up_and_decays() -> None:
    settings = toy_settings(warmup_steps=10, learning_rate=0.02)
    rates = [learning_rate(step, settings) for step in range(1, 15)]
    assert rates == pytest.approx([0.002 * step for step in range(1, 11)] + [0.02] * 4)
    assert learning_rate(1, toy_settings(warmup_steps=0, learning_rate=0.02)) == 0.02
    settings = toy_settings(warmup_steps=0, learning_rate=1.0, decay=0.5)
    rates = [learning_rate(100, settings, progress=part) for part in (0.0, 0.5, 0.75, 1.0)]
    assert rates == pytest.approx([1.0, 1.0, 0.5, 0.01])


def test_first_non_finite_names_the_tensor() -> None:
    model = Glow(toy_config())
    optimizer = make_optimizer(model.parameters(), toy_settings())
    model.log_prob(torch.rand(4, 1, 8, 8)).sum().backward()
    optimizer.step()
    assert first_non_finite(("weight", model), optimizer=optimizer) is None
    moments = optimizer.state[next(iter(optimizer.state))]["exp_avg"]
    moments.flatten()[0] = float("nan")
    assert "exp_avg" in first_non_finite(("weight", model), optimizer=optimizer)
    moments.zero_()
    with torch.no_grad():
        model.prior.mean[1] = float("-inf")
    assert first_non_finite(("weight", model), optimizer=optimizer) == "weight prior.mean"
    with torch.no_grad():
        model.prior.mean[1] = 3e38
        model.prior.mean[2] = 3e38
    assert first_non_finite(("weight", model)) is None


def test_budget_is_whichever_runs_out_first() -> None:
    budget = Budget(toy_settings(max_steps=100, max_epochs=2, max_seconds=30.0, batch_size=16), images=120)
    assert budget.used_up(step=14, seconds=29) is None
    assert budget.used_up(step=15, seconds=0) == "epochs"
    assert budget.used_up(step=1, seconds=30) == "time"
    assert budget.fraction(step=3, seconds=15) == 0.5
    assert budget.seconds_left(step=5, seconds=0, rate=2.0) == 5
    assert budget.seconds_left(step=5, seconds=29, rate=None) == 1


def test_fingerprint_sees_pixels_labels_and_count() -> None:
    images = toy_images(60, classes=2)
    base = fingerprint(images)
    assert fingerprint(toy_images(60, classes=2)) == base
    flipped = images.labels.copy()
    flipped[5] ^= 1
    assert fingerprint(ArrayImages(pixels=images.pixels, labels=flipped)) != base
    assert fingerprint(ArrayImages(pixels=images.pixels)) != base
    assert fingerprint(ArrayImages(pixels=images.pixels[:59], labels=images.labels[:59])) != base


def test_spread_covers_the_whole_set() -> None:
    assert spread(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert spread(100, 4).tolist() == [0, 25, 50, 75]
    assert spread(3, None).tolist() == [0, 1, 2]


def test_pixels_are_the_high_bits() -> None:
    pixels = np.array([0, 7, 8, 255], np.uint8).reshape(1, 1, 2, 2).repeat(4, axis=2).repeat(4, axis=3)
    found = read_batch(ArrayImages(pixels=pixels), np.array([0]), toy_config(n_bits=5))
    assert sorted(set(found.flatten().tolist())) == [0, 1, 31]


@pytest.mark.parametrize(
    ("images", "classes", "message"),
    [
        (ArrayImages(pixels=np.zeros((0, 1, 8, 8), np.uint8)), None, "no training images"),
        (ArrayImages(pixels=np.zeros((3, 1, 8, 16), np.uint8)), None, r"uint8 \(1, 1, 8, 8\)"),
        (ArrayImages(pixels=np.zeros((3, 1, 8, 8), np.float32)), None, "float32"),
        (toy_images(5), 3, "no labels"),
        (ArrayImages(pixels=toy_images(3).pixels, labels=np.array([0, 1, 3])), 3, "from 0 to 3"),
        (ArrayImages(pixels=toy_images(3).pixels, labels=np.array([0, 1])), 3, r"\(2,\)"),
    ],
)
def test_unfit_images_are_refused(images: ArrayImages, classes: int | None, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        check_images(images, toy_config(num_classes=classes), name="training")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_missing_gpu_is_an_error() -> None:
    with pytest.raises(TrainingError, match="cuda is not there"):
        make_fabric("cuda")
    assert make_fabric("auto").device.type == "cpu"

from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.engines.pytorch_gradient import RoundTripGradient, open_gradient
from glow_deploy.verify.stress.attack import Ball, measure_attack


class Watched:
    """Passes everything through and keeps all images that the attack looked at."""

    def __init__(self, gradient):
        self.gradient = gradient
        self.seen = []

    def round_trip(self, x, y):
        self.seen.append(x.copy())
        return self.gradient.round_trip(x, y)

    def ascend(self, x, y):
        self.seen.append(x.copy())
        return self.gradient.ascend(x, y)


class Uphill:
    """An error that rises with x, so the way up is known: x_hat = 2x."""

    def round_trip(self, x, y):
        return 2 * x

    def ascend(self, x, y):
        return 2 * x, 2 * x


class Breaks(Uphill):
    """Non-finite for the first image from the third look on."""

    def __init__(self):
        self.looks = 0

    def ascend(self, x, y):
        x_hat, slope = 2 * x, 2 * x
        if self.looks >= 3:
            x_hat[0] = slope[0] = np.nan
        self.looks += 1
        return x_hat, slope


def attack(gradient, x, backends=(), y=None, **options):
    defaults = {"name": "trained", "n_bits": 8, "images": len(x), "steps": 20, "step": 0.125, "seed": 0, "batch": 5}
    return measure_attack(gradient, backends, x, y, **{**defaults, **options})


@pytest.fixture(scope="module")
def stretching(perturbed_glow):
    """A model whose decoder stretches more the further one goes in some directions; 3 bits, so the ball is wide."""
    from glow_core import GlowConfig

    config = GlowConfig(image_size=(8, 8), channels=3, levels=2, steps=2, width=8, n_bits=3, bounded_scale=False)
    return perturbed_glow(config, strength=0.1)


def bin_centres(n, *, n_bits):
    pixels = np.random.default_rng(1).integers(0, 2**n_bits, (n, 3, 8, 8))
    return pixels, ((pixels + 0.5) / 2**n_bits).astype(np.float32)


@pytest.fixture
def centres():
    return bin_centres(6, n_bits=3)[1]


def test_the_attack_beats_random_points(stretching, centres):
    found = attack(open_gradient(stretching), centres, n_bits=3, steps=30).to_dict()
    assert found["non_finite"] == 0
    assert found["mean_rms"] > 10 * found["random_mean_rms"]
    assert found["worst_rms"] > 10 * found["random_worst_rms"]
    assert found["ratio"] == found["worst_rms"] / found["start_rms"] > 10


def test_a_gradient_of_noise_beats_nothing(stretching, centres):
    class Blind(RoundTripGradient):
        def ascend(self, x, y):
            rng = np.random.default_rng(len(x))
            return self.round_trip(x, y), rng.standard_normal(x.shape).astype(np.float32)

    blind = Blind(stretching.requires_grad_(requires_grad=False))
    found = attack(blind, centres, n_bits=3, steps=30)
    assert found.attacked.mean_rms < 10 * found.random_mean_rms


@pytest.mark.parametrize("n_bits", [3, 8])
def test_the_attack_never_leaves_the_ball(stretching, n_bits):
    pixels, _ = bin_centres(6, n_bits=n_bits)
    pixels[0], pixels[1] = 0, 2**n_bits - 1
    x = ((pixels + 0.5) / 2**n_bits).astype(np.float32)
    watched = Watched(open_gradient(stretching))
    attack(watched, x, n_bits=n_bits, step=2.0, steps=8, batch=6)
    for seen in watched.seen:
        assert np.array_equal(np.floor(seen.astype(np.float64) * 2**n_bits), pixels)
        assert np.abs(seen - x).max() <= 2.0 ** -(n_bits + 1)
    assert any(np.abs(seen - x).max() > 0.99 * 2.0 ** -(n_bits + 1) for seen in watched.seen)


def test_a_ball_holds_its_corners_and_nothing_beyond(images):
    ball = Ball(images, n_bits=8)
    assert np.array_equal(ball.project(images), images)
    assert np.array_equal(ball.project(images - 1), ball.low)
    assert np.array_equal(ball.project(images + 1), ball.high)
    assert ball.high.max() < 1
    assert ball.low.min() >= 0


def test_it_walks_up_the_slope(images):
    found = attack(Uphill(), images, steps=30)
    assert found.attacked.mean_rms > found.attacked.start_rms
    top = Ball(images, n_bits=8).high[found.worst_image]
    assert np.array_equal(found.worst_x, top)
    assert np.array_equal(found.worst_x_hat, 2 * top)


def test_what_becomes_non_finite_is_counted_and_kept(images):
    found = attack(Breaks(), images, steps=6, batch=8)
    assert found.non_finite_by_step == (0, 0, 0, 1, 1, 1, 1)
    assert found.attacked.non_finite == 1
    assert found.worst_image == 0
    assert np.isnan(found.worst_x_hat).all()
    assert np.isfinite(found.worst_x).all()
    assert np.isfinite(found.attacked.worst_rms)


def test_the_attacked_images_run_through_every_backend(stand_in, images):
    exact, off = stand_in(name="exact"), stand_in(decode=lambda z: z + np.float32(2**-7), name="off")
    found = attack(Uphill(), images, [exact, off])
    assert [(row.backend, row.exact_images) for row in found.deployed] == [("exact", 8), ("off", 0)]
    assert found.deployed[1].worst_rms == pytest.approx(2**-7, rel=1e-4)
    assert found.deployed[0].to_dict()["ratio"] is None


def test_few_images_start_from_several_points(images):
    watched = Watched(Uphill())
    attack(watched, images[:2], images=6, steps=1, batch=6)
    first = watched.seen[0]
    assert len(np.unique(first.reshape(6, -1), axis=0)) == 6
    assert np.abs(first[::2] - images[0]).max() <= 2.0**-9


def test_labels_go_with_their_images(perturbed_glow, small_config, torch_backend, centres):
    model = perturbed_glow(small_config(num_classes=4))
    y = np.arange(6, dtype=np.int64) % 4
    found = attack(open_gradient(model), centres, [torch_backend(model)], y=y, images=5, n_bits=3, steps=2)
    assert found.attacked.exact_images == 5
    # The same model, images and labels, so the same figures to the last digit of the batch.
    assert found.deployed[0].worst_rms == pytest.approx(found.attacked.worst_rms, rel=0.2)


def test_the_gradient_is_that_of_the_squared_error(perturbed_glow, small_config, centres):
    """In float64 the round trip is exact, so the gradient is checked through a decoder that is off by a known map."""
    import torch

    model = perturbed_glow(small_config())
    decode = model.decode
    model.decode = lambda z, y=None: 2 * decode(z, y)
    x_hat, slope = RoundTripGradient(model.requires_grad_(requires_grad=False)).ascend(centres, None)
    assert np.allclose(x_hat, 2 * centres, atol=1e-4)
    assert np.allclose(slope, 2 * centres, atol=1e-3)  # of |2x - x|^2
    assert torch.is_grad_enabled()

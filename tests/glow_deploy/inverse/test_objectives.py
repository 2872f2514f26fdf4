import numpy as np
import pytest

from glow_deploy.errors import UnsoundModelError
from glow_deploy.images import values_to_x
from glow_deploy.inverse.objectives import Flattener, latent_objective, pixel_objective, start_finite
from glow_deploy.latents.noise import noise


def slope_error(objective, point):
    """How far the gradient along a direction is from finite differences, relative to its size."""
    rows = np.arange(len(point))
    direction = np.random.default_rng(5).normal(size=point.shape)
    _, gradient = objective(point, rows)
    low, high = (objective(point + sign * 1e-6 * direction, rows)[0] for sign in (-1, 1))
    expected, found = (high - low) / 2e-6, (gradient * direction).sum(axis=1)
    return np.abs(found - expected).max() / np.abs(expected).max()


def draw(model, count):
    shapes = [spec.shape for spec in model.decoder.inputs]
    return Flattener(shapes).join(noise(1, np.arange(count), shapes))


def test_the_slope_over_latents(exact_model, pictures, hole):
    target = values_to_x(pictures, 5)
    known = np.broadcast_to(~hole, target.shape)
    start = draw(exact_model, 3)
    objective = latent_objective(exact_model, target=target, known=known, centre=0.3 * start, noise=0.05, prior=2.0)
    assert slope_error(objective, 0.5 * start) < 1e-6
    _, gradient = objective(0.5 * start, np.arange(3))
    assert slope_error(lambda point, rows: (objective(point, rows)[0], gradient * 1.001), 0.5 * start) > 1e-4


def test_what_is_not_known_does_not_count(exact_model, pictures, hole):
    target = values_to_x(pictures, 5)
    known = np.broadcast_to(~hole, target.shape)
    other = np.where(known, target, np.nan)
    start = draw(exact_model, 3)
    found = [
        latent_objective(exact_model, target=image, known=known, centre=start, noise=0.05)(start, np.arange(3))
        for image in (target, other)
    ]
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_rows_are_told_apart(exact_model, pictures, hole):
    target = values_to_x(pictures, 5)
    known = np.broadcast_to(~hole, target.shape)
    start = draw(exact_model, 3)
    objective = latent_objective(exact_model, target=target, known=known, centre=0 * start, noise=0.05)
    every, one = objective(start, np.arange(3)), objective(start[2:], np.array([2]))
    np.testing.assert_allclose(one[0], every[0][2:], rtol=1e-9)
    np.testing.assert_allclose(one[1], every[1][2:], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("sigma", [None, 0.1])
def test_the_slope_over_pixels(exact_model, pictures, hole, sigma):
    target = values_to_x(pictures, 5).astype(np.float64)
    free = np.broadcast_to(hole, target.shape)
    objective = pixel_objective(exact_model, target=target, free=free, noise=sigma)
    point = (target + 0.05).reshape(3, -1)
    _, gradient = objective(point, np.arange(3))
    assert not gradient[~free.reshape(3, -1)].any(), "known pixels stay"
    moved = pixel_objective(exact_model, target=target, free=np.ones_like(free), noise=sigma)
    assert slope_error(moved, point) < 1e-6


def test_an_image_with_one_pixel_that_is_not_finite_is_not_finite(model, pictures, hole, spoil):
    target = values_to_x(pictures, 5)
    spoiled = spoil(model, lambda largest: largest > 100)
    objective = latent_objective(
        spoiled, target=target, known=np.zeros(target.shape, bool), centre=np.zeros((3, 192)), noise=0.05
    )
    point = np.zeros((3, 192))
    point[1, 0] = 200
    value, _ = objective(point, np.arange(3))
    assert np.isfinite(value).tolist() == [True, False, True]


def test_a_start_near_zero_that_does_not_decode_is_an_unsound_model():
    def never(point, rows):
        return np.full(len(point), np.nan), point

    with pytest.raises(UnsoundModelError, match="2 of 2 starting points"):
        start_finite(never, np.ones((2, 3)))

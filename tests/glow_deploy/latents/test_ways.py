from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from glow_deploy.errors import DataError, UsageError
from glow_deploy.latents import ways
from glow_deploy.latents.ways import blend, interpolate, interpolate_grid

RNG = np.random.default_rng(5)
SHAPES = ((4, 6, 6), (8, 3, 3))


def latents(seed: int, dtype=np.float32):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=shape).astype(dtype) for shape in SHAPES)


def norms(z) -> np.ndarray:
    """[L, n]."""
    return np.stack([np.linalg.norm(level.reshape(len(level), -1).astype(np.float64), axis=1) for level in z])


def test_linear_is_the_formula():
    a, b = latents(1, np.float64), latents(2, np.float64)
    t = np.array([0.0, 0.1, 0.5, 1.0])
    for level, first, second in zip(blend(a, b, t), a, b, strict=True):
        wanted = (1 - t)[:, None, None, None] * first + t[:, None, None, None] * second
        np.testing.assert_allclose(level, wanted, rtol=1e-14, atol=1e-15)


def test_spherical_is_shoemakes_formula_where_the_lengths_are_equal():
    a, b = (tuple(level / np.linalg.norm(level) for level in latents(seed, np.float64)) for seed in (1, 2))
    t = np.array([0.2, 0.5, 0.9])
    for level, first, second in zip(blend(a, b, t, mode="spherical"), a, b, strict=True):
        angle = math.acos((first * second).sum())
        wanted = [(math.sin((1 - s) * angle) * first + math.sin(s * angle) * second) / math.sin(angle) for s in t]
        np.testing.assert_allclose(level, wanted, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("mode", ["linear", "spherical"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_ends_are_exact_and_keep_their_dtype(mode, dtype):
    a, b = latents(1, dtype), latents(2, dtype)
    z = interpolate(a, b, steps=7, mode=mode)
    for level, first, second in zip(z, a, b, strict=True):
        assert level.dtype == dtype
        np.testing.assert_array_equal(level[0], first)
        np.testing.assert_array_equal(level[-1], second)
        assert len(np.unique(level.reshape(7, -1), axis=0)) == 7


def test_spherical_keeps_the_norm_of_every_level_and_linear_does_not():
    a, b = latents(1), latents(2)
    ends = norms(tuple(np.stack(pair) for pair in zip(a, b, strict=True)))
    t = np.linspace(0, 1, 11)
    even = (1 - t) * ends[:, :1] + t * ends[:, 1:]
    np.testing.assert_allclose(norms(interpolate(a, b, steps=11, mode="spherical")), even, rtol=1e-6)
    half_way = norms(interpolate(a, b, steps=11))[:, 5] / even[:, 5]
    assert np.all(half_way < 0.85), "a straight line between vectors at right angles cuts the corner"


def test_one_great_circle_through_all_levels_would_not_keep_each_norm():
    """Why levels are taken one by one: the coarse level of these two is nearly the same, the fine one is not."""
    a, b = latents(1, np.float64), latents(2, np.float64)
    b = (b[0], a[1] + 0.1 * b[1])
    whole = blend(
        (np.concatenate([level.ravel() for level in a]),),
        (np.concatenate([level.ravel() for level in b]),),
        [0.5],
        mode="spherical",
    )[0][0]
    coarse = np.linalg.norm(whole[a[0].size :])
    even = (np.linalg.norm(a[1]) + np.linalg.norm(b[1])) / 2
    assert coarse > 1.15 * even
    np.testing.assert_allclose(norms(blend(a, b, [0.5], mode="spherical"))[1], even, rtol=1e-12)


def test_spherical_does_not_bulge_where_lengths_differ():
    a = np.array([1.0, 0.0])
    b = 0.1 * np.array([math.cos(3.0), math.sin(3.0)])
    length = np.linalg.norm(blend((a,), (b,), np.linspace(0, 1, 50), mode="spherical")[0], axis=1)
    assert np.all(np.diff(length) < 0)


def test_parallel_latents_go_straight():
    a = latents(1, np.float64)
    for factor in (1.0, 2.0, 1.0 + 1e-12):
        b = tuple(factor * level for level in a)
        for arc, line in zip(
            interpolate(a, b, steps=5, mode="spherical"), interpolate(a, b, steps=5, mode="linear"), strict=True
        ):
            np.testing.assert_allclose(arc, line, rtol=1e-9)


def test_nearly_parallel_latents_are_finite_and_on_the_arc():
    a = latents(1, np.float64)
    for size in (1e-4, 1e-6, 1e-8, 1e-12):
        b = tuple(level + size * other for level, other in zip(a, latents(2, np.float64), strict=True))
        half_way = blend(a, b, [0.5], mode="spherical")
        for level, first, second in zip(half_way, a, b, strict=True):
            np.testing.assert_allclose(level[0], (first + second) / 2, rtol=0, atol=2 * size**2 + 1e-14)


def test_opposite_latents_are_refused_on_the_sphere_and_cross_zero_in_a_line():
    a = latents(1)
    b = (latents(2)[0], -2 * a[1])
    with pytest.raises(DataError, match="z2 of the one points exactly away from z2 of the other"):
        interpolate(a, b, mode="spherical")
    np.testing.assert_array_equal(interpolate(a, (b[0], -a[1]), steps=3)[1][1], 0)


def test_nearly_opposite_latents_have_an_arc():
    a = latents(1, np.float64)
    b = tuple(-level + 1e-3 * other for level, other in zip(a, latents(2, np.float64), strict=True))
    found = norms(interpolate(a, b, steps=9, mode="spherical"))
    np.testing.assert_allclose(found, np.broadcast_to(found[:, :1], found.shape), rtol=1e-3)


def test_a_level_of_zeros_has_no_direction():
    a = (np.zeros(SHAPES[0]), latents(1, np.float64)[1])
    b = latents(2, np.float64)
    z = interpolate(a, b, steps=5, mode="spherical")
    np.testing.assert_allclose(z[0][1], 0.25 * b[0], rtol=1e-15)
    assert not np.allclose(z[1][1], 0.75 * a[1] + 0.25 * b[1], rtol=1e-2)
    zero = interpolate((np.zeros(3),), (np.zeros(3),), steps=3, mode="spherical")[0]
    np.testing.assert_array_equal(zero, 0)


@pytest.mark.parametrize("mode", ["linear", "spherical"])
def test_the_corners_and_edges_of_a_grid(mode):
    corners = [latents(seed) for seed in range(4)]
    z = interpolate_grid(*corners, steps=4, mode=mode)
    square = [level.reshape(4, 4, *shape) for level, shape in zip(z, SHAPES, strict=True)]
    for level, cells in enumerate(square):
        for corner, (row, column) in zip(corners, [(0, 0), (0, 3), (3, 0), (3, 3)], strict=True):
            np.testing.assert_array_equal(cells[row, column], corner[level])
    edges = {
        (0, 1): [cells[0] for cells in square],
        (2, 3): [cells[3] for cells in square],
        (0, 2): [cells[:, 0] for cells in square],
        (1, 3): [cells[:, 3] for cells in square],
    }
    for (first, second), edge in edges.items():
        for cells, level in zip(edge, interpolate(corners[first], corners[second], steps=4, mode=mode), strict=True):
            np.testing.assert_array_equal(cells, level)


def test_the_linear_grid_is_bilinear():
    a, b, c, d = (latents(seed, np.float64) for seed in range(4))
    z = interpolate_grid(a, b, c, d, steps=5)[0].reshape(5, 5, *SHAPES[0])
    wanted = 0.75 * 0.5 * a[0] + 0.75 * 0.5 * b[0] + 0.25 * 0.5 * c[0] + 0.25 * 0.5 * d[0]
    np.testing.assert_allclose(z[1, 2], wanted, rtol=1e-12, atol=1e-14)


def test_bad_latents_and_options():
    a, b = latents(1), latents(2)
    with pytest.raises(DataError, match="not of one model"):
        interpolate(a, b[:1])
    with pytest.raises(DataError, match="not of one model"):
        interpolate((), ())
    spoiled = (np.where(np.arange(b[0].size).reshape(b[0].shape) < 3, np.nan, b[0]), b[1])
    with pytest.raises(DataError, match="3 of 144 numbers of z1 are not finite"):
        interpolate(a, spoiled)
    with pytest.raises(UsageError, match="steps must be a whole number from 2 to 1000"):
        interpolate(a, b, steps=1)
    with pytest.raises(UsageError, match="mode is 'cubic'"):
        interpolate(a, b, mode="cubic")
    for t in ([-0.1], [1.5], [np.nan], 0.5):
        with pytest.raises(UsageError, match="numbers from 0 to 1"):
            blend(a, b, t)
    for steps in (2.5, "3", None, True):
        for way in (
            lambda steps: interpolate(a, b, steps=steps),
            lambda steps: interpolate_grid(a, b, a, b, steps=steps),
        ):
            with pytest.raises(UsageError, match="steps must be a whole number from 2 to 1000"):
                way(steps)
    assert len(interpolate(a, b, steps=np.int64(3))[0]) == len(interpolate(a, b, steps=np.array(3))[0]) == 3


def test_doctests():
    assert doctest.testmod(ways).failed == 0
    assert doctest.testmod(ways).attempted >= 8

from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.exact.conditioners import convolve
from glow_deploy.exact.narrow import FORMATS, digits_of, edge_kernel
from glow_deploy.folding.arrays import edge_map


@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 2), (5, 4)])
def test_a_plane_of_ones_gives_the_edge(size):
    edge = np.random.default_rng(0).integers(-5000, 5000, (4, *np.minimum(size, 3)))
    found = convolve(np.ones((1, 1, *size)), edge_kernel(edge)[:, None])
    np.testing.assert_array_equal(found[0], edge_map(edge, *size))


@pytest.mark.parametrize("bits", [8, 11])
def test_digits_add_up(bits):
    values = np.array([0, 1, -1, 127, 128, -128, 2**20 + 5, -(2**23)])
    digits = digits_of(values, bits)
    np.testing.assert_array_equal(sum(digit << (bits * place) for place, digit in enumerate(digits)), values)
    assert max(np.abs(digit).max() for digit in digits) <= 2 ** (bits - 1)


def test_what_a_format_holds():
    half, brain = FORMATS["fp16"], FORMATS["bf16"]
    assert half.holds(np.array([0.0, 2047.0, 2048.0, -65504.0, 2.0**-14]))
    for value in (2049.0, 65536.0, 2.0**-15):
        assert not half.holds(np.array([1.0, value]))
    assert brain.holds(np.array([255.0, 256.0, 2.0**-100]))
    assert not brain.holds(np.array([257.0]))


@pytest.mark.parametrize("number", ["bf16", "fp16"])
def test_rounded_biases_are_numbers_of_the_format(number):
    narrow = FORMATS[number]
    bias = np.random.default_rng(0).integers(-(2**20), 2**20, 200)
    shift = np.full(200, 19)
    found = narrow.rounded_bias(bias, shift)
    assert narrow.holds(found * 2.0**-19)
    assert np.abs(found - bias).max() <= 2**20 / 2**narrow.bits
    assert not narrow.holds(bias * 2.0**-19)

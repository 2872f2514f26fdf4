from __future__ import annotations

from dataclasses import replace

import numpy as np

from glow_deploy.exact.linear import limit_bits
from glow_deploy.exact.shears import product


def test_ratio_shears_and_sign_make_the_1x1(rgb):
    levels = rgb.levels
    first, second = rgb.folded.levels[1].steps[:2], levels[1][:2]
    order = [4 * channel + offset for offset in range(4) for channel in range(6)]
    made = second[0].ratio * second[0].sign[:, None] * product(second[0].shears)
    np.testing.assert_allclose(made, first[0].encode.weight[:, order, 0, 0], atol=1e-5)
    # What one step carries with the other sign, the next one reads with it.
    made = second[1].ratio * second[1].sign[:, None] * product(second[1].shears) * second[0].sign
    np.testing.assert_allclose(made, first[1].encode.weight[:, :, 0, 0], atol=1e-5)


def test_ratios_hold_all_of_the_log_determinant(rgb):
    levels = rgb.levels
    total = sum(
        np.log(step.ratio) * np.prod(level.shape)
        for level, steps in zip(rgb.folded.levels, levels, strict=True)
        for step in steps
    )
    np.testing.assert_allclose(total, rgb.folded.log_det, rtol=1e-9)


def test_the_limit_falls_with_the_norms(rgb):
    levels = rgb.levels
    larger = tuple(
        tuple(replace(step, shears=tuple(8 * shear for shear in step.shears)) for step in level) for level in levels
    )
    assert limit_bits(larger) < limit_bits(levels) <= 19


def test_a_determinant_of_either_sign_is_carried(rgb):
    signs = [step.sign for level in rgb.levels for step in level]
    assert all(set(sign[:-1]) == {1} for sign in signs)
    assert {int(sign[-1]) for sign in signs} <= {1, -1}

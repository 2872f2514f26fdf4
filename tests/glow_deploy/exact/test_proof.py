from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exact_models import pictures

from glow_deploy.errors import UnsoundModelError
from glow_deploy.exact.proof import prove


def test_bounds_hold_and_leave_room(made):
    proof = prove(made.built.model)
    assert proof.largest_sum < 2**24
    assert proof.limit < proof.largest_value < 2**24
    assert proof.largest_operand <= 2**11


def test_what_images_reach_is_within_the_bounds(rgb):
    """The bound of a step is that of its values between two checks, whatever the image: noise tries it."""
    model, proof = rgb.built.model, prove(rgb.built.model)
    q = np.random.default_rng(0).integers(-model.limit, model.limit + 1, (4, 12, 4, 4))
    for step in model.levels[0].steps:
        first, second = rgb.run.shear(q, step.shears)
        assert max(np.abs(first).max(), np.abs(second).max()) <= proof.largest_value
        assert np.abs(rgb.run.step(q, step)).max() <= proof.largest_value


@pytest.mark.parametrize("part", ["weight", "bias"])
def test_a_sum_that_may_reach_the_end_is_no_proof(rgb, part):
    model = rgb.built.model
    level = model.levels[0]
    step = level.steps[0]
    conv = step.conditioner.conv2
    large = getattr(conv, part) * 0 + 2**24
    net = replace(step.conditioner, conv2=replace(conv, **{part: large}))
    changed = replace(level, steps=(replace(step, conditioner=net), *level.steps[1:]))
    with pytest.raises(UnsoundModelError, match=r"level1/step01/coupling/conv2: a sum of products may reach"):
        prove(replace(model, levels=(changed, *model.levels[1:])))


def test_a_trunk_without_room_is_no_proof(rgb):
    """Shears whose weights are small integers in steps of 16 add more than there is room for, with small sums."""
    level = rgb.built.model.levels[0]
    step = level.steps[0]
    conv = replace(step.shears[0].conv, shift=step.shears[0].conv.shift - 16)
    shears = (replace(step.shears[0], conv=conv), *step.shears[1:])
    changed = replace(level, steps=(replace(step, shears=shears), *level.steps[1:]))
    with pytest.raises(UnsoundModelError, match="a value of the trunk may reach"):
        prove(replace(rgb.built.model, levels=(changed, *rgb.built.model.levels[1:])))


def test_an_operand_that_16_bit_cannot_hold_is_no_proof(narrow):
    level = narrow.built.model.levels[0]
    step = level.steps[0]
    net = step.conditioner
    for name, change, what in (
        ("conv1", {"shift": net.conv1.shift + 120}, "a weight"),
        ("conv2", {"bias": net.conv2.bias * 0 + 2**11 + 1}, "a bias"),
    ):
        changed = replace(net, **{name: replace(getattr(net, name), **change)})
        steps = (replace(step, conditioner=changed), *level.steps[1:])
        with pytest.raises(UnsoundModelError, match=f"level1/step01/coupling/{name}: {what} is no normal number"):
            prove(replace(narrow.built.model, levels=(replace(level, steps=steps), *narrow.built.model.levels[1:])))


def test_pixels_beyond_the_limit_are_no_proof(rgb):
    with pytest.raises(UnsoundModelError, match="pixels reach"):
        prove(replace(rgb.built.model, limit=2**8, limb_bits=4))


def test_images_of_the_calibration_are_in_range(made):
    assert made.built.largest * 2 <= made.built.model.limit
    x = pictures(made.folded.image_shape, made.folded.n_bits, 16)
    y = None if made.folded.num_classes is None else np.arange(16) % made.folded.num_classes
    assert made.run.encode(x, y).in_range.all()


def test_both_limbs_of_a_bfloat16_input_are_counted(narrow):
    """1,023 is 1,024 - 1, and a value half way below a multiple of 8 has a low limb of 4."""
    net = narrow.built.model.levels[0].steps[0].conditioner
    if net.narrow == "fp16":
        assert net.largest_input == net.input.largest == 1023
        return
    q = np.arange(-net.input.largest, net.input.largest + 1)
    high = np.rint(q / 8) * 8
    assert np.abs(high).max() + np.abs(q - high).max() <= net.largest_input == 1028

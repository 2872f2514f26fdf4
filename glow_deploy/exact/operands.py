"""The operands of a conditioner's convolutions as 16-bit numbers: what the graphs hold and what the proof looks at."""

from __future__ import annotations

import numpy as np

from glow_deploy.folding import FoldedConv
from glow_deploy.folding.arrays import step_path

from .arrays import NARROW_LIMB_BITS, ExactGlow, IntegerConditioner, IntegerConv
from .narrow import FORMATS, NarrowFormat

__all__ = ["edge_planes", "first_unfit", "narrow_conv", "unfit"]


def narrow_conv(conv: IntegerConv, narrow: NarrowFormat, *, limbs: bool) -> FoldedConv:
    """Return weights and biases of a convolution of 16-bit numbers.

    Its inputs, divided by 2^input_shift, are the channels, twice where they come as two limbs, and a plane of ones for
    each digit of the edge.

    Args:
        conv: the integers.
        narrow: their format.
        limbs: the inputs come as two limbs.
    """
    scale = np.exp2(-conv.shift.astype(np.float64))
    parts = [conv.weight] * (2 if limbs else 1)
    if conv.edge is not None:
        parts.append(np.stack(conv.edge_kernels(), axis=1))
    weight = np.concatenate(parts, axis=1) * (scale * 2.0**narrow.input_shift)[:, None, None, None]
    return FoldedConv(weight=weight, bias=conv.bias * scale)


def edge_planes(conv: IntegerConv) -> np.ndarray:
    """What the planes of ones are multiplied with, [digits] float64."""
    assert conv.digits is not None
    planes: np.ndarray = np.exp2(conv.digits * np.arange(len(conv.edge_kernels()), dtype=np.float64))
    return planes


def first_unfit(model: ExactGlow) -> str | None:
    """Say which operand of a model the 16-bit format of its conditioners does not hold, or None where all fit."""
    for index, level in enumerate(model.levels, start=1):
        for number, step in enumerate(level.steps, start=1):
            missing = unfit(step.conditioner)
            if missing is not None:
                name, what = missing
                return f"{step_path(index, number)}/coupling/{name}: {what} is no normal number of {model.narrow}"
    return None


def unfit(net: IntegerConditioner) -> tuple[str, str] | None:
    """Say which operand of a conditioner's hidden convolutions its 16-bit format does not hold.

    Returns:
        The convolution and what it is of it; None where all fit.
    """
    if net.narrow is None:
        return None
    narrow, limbs = FORMATS[net.narrow], net.narrow == "bf16"
    read = np.arange(net.input.largest + 1, dtype=np.float64)
    if limbs:
        unit = 2.0**NARROW_LIMB_BITS
        high = np.rint(read / unit) * unit
        read = np.concatenate((high, read - high))
    for name, conv, values in (
        ("conv1", net.conv1, read),
        ("conv2", net.conv2, np.arange(net.largest + 1, dtype=np.float64)),
    ):
        if conv.edge is not None:
            values = np.concatenate((values, edge_planes(conv)))
        made = narrow_conv(conv, narrow, limbs=limbs and name == "conv1")
        inputs = values * 2.0**-narrow.input_shift
        for what, operand in (("an input", inputs), ("a weight", made.weight), ("a bias", made.bias)):
            if not narrow.holds(operand):
                return name, what
    return None

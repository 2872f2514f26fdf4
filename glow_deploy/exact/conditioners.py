"""Convolutions of real numbers as convolutions of integers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from glow_core.rounding import ACTIVATION_HEADROOM, INPUT_BITS, LEAST_ACTIVATION
from glow_deploy.folding import FoldedConditioner, FoldedConv
from glow_deploy.folding.arrays import edge_map
from glow_deploy.numerics.float64.ops import OPERATORS

from .arrays import ACCUMULATOR, IntegerConditioner, IntegerConv, Rounded, read_bound
from .narrow import FORMATS, NarrowFormat, NarrowNumber, edge_kernel

__all__ = ["Convolve", "centred", "convolve", "integer_conditioner", "integer_conv", "rounding_of", "run_real"]

Convolve = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Takes x [N,C,H,W] and a weight [O,C,k,k], and returns float64 [N,O,H,W]."""

_ROOM = ACCUMULATOR - 2**16  # a bias that is rounded to eight or eleven bits afterwards may grow by 2^15
_MOST_MOVED = 2**15
_LEAST_SHIFT, _MOST_SHIFT = -24, 40


def convolve(x: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Convolve in float64 with zero padding: exact for integers, whose sums stay below 2^53."""
    size = weight.shape[2]
    attributes = {"kernel_shape": [size, size], "pads": [size // 2] * 4}
    return OPERATORS["Conv"]([x.astype(np.float64), weight.astype(np.float64)], attributes)[0]


def convolve_real(x: np.ndarray, conv: FoldedConv, convolve: Convolve = convolve) -> np.ndarray:
    """Apply a folded convolution, bias and edge included."""
    result = convolve(x, conv.weight) + conv.bias.astype(np.float64)[:, None, None]
    if conv.edge is not None:
        result += edge_map(conv.edge.astype(np.float64), x.shape[2], x.shape[3])
    return result


def rounding_of(q: np.ndarray) -> Rounded:
    """Choose how a half of the trunk is read: the smallest shift that keeps nearly all of it."""
    largest = 2**INPUT_BITS - 1
    top = float(np.quantile(np.abs(q).max(axis=(1, 2, 3)), 0.99)) if q.size else 0.0
    shift = max(0, int(np.ceil(np.log2(max(top, 1.0) / largest))))
    return Rounded(shift=shift, largest=largest)


def integer_conv(
    conv: FoldedConv,
    *,
    scale: np.ndarray,
    largest_weight: int,
    largest_input: int,
    parts: int = 1,
    narrow: NarrowFormat | None = None,
) -> IntegerConv:
    """Round a convolution, each output channel in the finest steps that its bounds allow.

    Args:
        conv: already multiplied with the input's step, channel by channel, so that it takes integers.
        scale: [out]: the result is to be conv / scale.
        largest_weight: magnitude that no integer weight passes.
        largest_input: magnitude of the inputs.
        parts: of the inputs, see `IntegerConv`.
        narrow: the operands are to be numbers of this format.

    Returns:
        All partial sums stay below 2^24; a channel whose sums would not, or whose edge would take too many digits, gets
        coarser weights.
    """
    weight = conv.weight.astype(np.float64) / scale[:, None, None, None]
    bias = conv.bias.astype(np.float64) / scale
    edge = None if conv.edge is None else conv.edge.astype(np.float64) / scale[:, None, None]
    peak = np.abs(weight).max(axis=(1, 2, 3))
    shift = np.floor(np.log2(largest_weight / np.maximum(peak, 1e-30)))
    shift = np.clip(shift, _LEAST_SHIFT, narrow.most_shift if narrow else _MOST_SHIFT).astype(np.int64)
    while True:
        unit = np.exp2(shift.astype(np.float64))
        found = IntegerConv(
            weight=np.rint(weight * unit[:, None, None, None]).astype(np.int64),
            bias=np.rint(bias * unit).astype(np.int64),
            shift=shift,
            edge=None if edge is None else np.rint(edge * unit[:, None, None]).astype(np.int64),
            parts=parts,
            digits=None if edge is None or narrow is None else narrow.bits,
        )
        too_large = found.largest_sums(largest_input).max(axis=0) >= _ROOM
        too_large |= np.abs(found.weight).max(axis=(1, 2, 3)) > largest_weight
        if found.edge is not None and narrow is not None:
            too_large |= _largest_taps(found.edge) > narrow.largest_edge
        if not too_large.any():
            return found
        shift = shift - too_large


def integer_conditioner(
    net: FoldedConditioner,
    q: np.ndarray,
    *,
    spacing: float,
    sign: np.ndarray,
    bits: int,
    narrow: NarrowNumber | None = None,
    convolve: Convolve = convolve,
) -> IntegerConditioner:
    """Round a conditioner, with the ranges of its activations taken from calibration images.

    The activations of each hidden channel have a step of their own, which the next convolution's weights take up; the
    last convolution's result is in steps of the trunk.

    Args:
        net: the trained one.
        q: [N,C/2,H,W] integers that it reads on the calibration images.
        spacing: h = q * spacing, on either side.
        sign: [C/2] of the half that it adds to: h = sign * q * spacing there.
        bits: of a weight, and a sign; of an activation.
        narrow: see `IntegerConditioner`.
        convolve: what runs it on the images.
    """
    largest, largest_weight = 2**bits - 1, 2**bits
    rounding = rounding_of(q)
    scaled1 = _scaled(net.conv1, np.full(q.shape[1], spacing * 2.0**rounding.shift))
    hidden1 = np.maximum(convolve_real(q * spacing, net.conv1, convolve), 0.0)
    step1 = _steps(hidden1, largest, scaled1, narrow=narrow)
    scaled2 = _scaled(net.conv2, step1)
    hidden2 = np.maximum(convolve_real(hidden1, net.conv2, convolve), 0.0)
    step2 = _steps(hidden2, largest, scaled2, narrow=narrow)
    made = partial(
        integer_conv,
        largest_weight=largest_weight,
        narrow=FORMATS[narrow] if narrow else None,
    )
    conv1 = made(scaled1, scale=step1, largest_input=read_bound(rounding.largest, narrow=narrow))
    conv2 = made(scaled2, scale=step2, largest_input=largest)
    if narrow:
        rounded = FORMATS[narrow].rounded_bias
        conv1, conv2 = (replace(conv, bias=rounded(conv.bias, conv.shift)) for conv in (conv1, conv2))
    out = spacing * sign
    conv3 = integer_conv(
        _scaled(net.conv3, step2),
        scale=out,
        largest_weight=largest_weight,
        largest_input=largest,
        parts=_parts(net.conv3, largest),
    )
    return IntegerConditioner(input=rounding, largest=largest, narrow=narrow, conv1=conv1, conv2=conv2, conv3=conv3)


def run_real(net: FoldedConditioner, x: np.ndarray, convolve: Convolve = convolve) -> np.ndarray:
    """What the trained conditioner makes of x, not rounded anywhere."""
    for conv in (net.conv1, net.conv2):
        x = np.maximum(convolve_real(x, conv, convolve), 0.0)
    return convolve_real(x, net.conv3, convolve)


def centred(net: IntegerConditioner, error: np.ndarray) -> IntegerConditioner:
    """Move the last bias by what the result of each channel is off at the median, within the room that the sums leave.

    Where most of an image is one colour, rounding is off by the same amount at most places, and the likelihood, which
    is sharpest there, pays for it. The median is what it is off there; the mean would follow the few other places.
    docs/exact.md tells what it gains.

    Args:
        net: rounded.
        error: [N,C,H,W], trained minus rounded, on the calibration images, in steps of the trunk.
    """
    moved = np.rint(np.median(error, axis=(0, 2, 3)) * np.exp2(net.conv3.shift.astype(np.float64)))
    bias = net.conv3.bias + np.clip(moved, -_MOST_MOVED, _MOST_MOVED).astype(np.int64)
    return replace(net, conv3=replace(net.conv3, bias=bias))


def _parts(conv: FoldedConv, largest: int) -> int:
    """How many parts leave room for weights of eight bits, a quarter of the largest on average."""
    inputs, taps = conv.weight.shape[1], conv.weight.shape[2] * conv.weight.shape[3]
    parts = 1
    while inputs % (2 * parts) == 0 and inputs // parts * taps * 64 * largest > ACCUMULATOR:
        parts *= 2
    return parts


def _steps(hidden: np.ndarray, largest: int, conv: FoldedConv, *, narrow: NarrowNumber | None) -> np.ndarray:
    """The step of each channel's activations; one that is never positive gets that of the others.

    Args:
        hidden: what `conv` gives on the calibration images.
        largest: of the activations, in steps.
        conv: its weights, biases and edge must not be too many steps for the 16-bit format.
        narrow: that format.
    """
    top = hidden.max(axis=(0, 2, 3))
    usual = float(np.median(top[top > 0])) if (top > 0).any() else 1.0
    steps = ACTIVATION_HEADROOM * np.maximum(top, LEAST_ACTIVATION * usual) / largest
    if narrow:
        real = np.maximum(np.abs(conv.weight).max(axis=(1, 2, 3)), np.abs(conv.bias))
        steps = np.maximum(steps, real / FORMATS[narrow].largest_real)
        if conv.edge is not None:
            steps = np.maximum(steps, _largest_taps(conv.edge) / FORMATS[narrow].largest_edge)
    # To ten bits, so that the last digits of sums, which depend on their order, do not show in the weights.
    unit = np.exp2(np.floor(np.log2(steps)) - 10)
    rounded: np.ndarray = np.ceil(steps / unit) * unit
    return rounded


def _largest_taps(edge: np.ndarray) -> np.ndarray:
    """Of the kernels that make an edge, [out]."""
    taps: np.ndarray = np.abs(edge_kernel(edge)).max(axis=(1, 2))
    return taps


def _scaled(conv: FoldedConv, steps: np.ndarray) -> FoldedConv:
    return FoldedConv(
        weight=conv.weight.astype(np.float64) * steps[None, :, None, None],
        bias=conv.bias.astype(np.float64),
        edge=None if conv.edge is None else conv.edge.astype(np.float64),
    )

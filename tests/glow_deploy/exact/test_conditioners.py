from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from glow_deploy.exact.arrays import ACCUMULATOR
from glow_deploy.exact.conditioners import (
    centred,
    convolve_real,
    integer_conditioner,
    integer_conv,
    rounding_of,
    run_real,
)
from glow_deploy.exact.interpret import ExactModel, scaled_sums
from glow_deploy.exact.narrow import FORMATS
from glow_deploy.exact.operands import unfit
from glow_deploy.folding import FoldedConditioner, FoldedConv


def conv(generator, rows, columns, size, *, edge=False):
    return FoldedConv(
        weight=generator.normal(size=(rows, columns, size, size)) / (size * columns**0.5),
        bias=0.1 * generator.normal(size=rows),
        edge=0.1 * generator.normal(size=(rows, 3, 3)) if edge else None,
    )


@pytest.mark.parametrize("edge", [False, True])
@pytest.mark.parametrize("parts", [1, 2])
def test_integer_sums_are_near_the_real_ones_and_bounded(edge, parts):
    generator = np.random.default_rng(0)
    real = conv(generator, 6, 8, 3, edge=edge)
    found = integer_conv(real, scale=np.full(6, 0.01), largest_weight=256, largest_input=255, parts=parts)
    a = generator.integers(0, 256, (2, 8, 6, 5))
    sums = sum(scaled_sums(a, found))
    wanted = convolve_real(a, real) / 0.01
    assert np.abs(sums - wanted).max() < 0.02 * np.abs(wanted).max()
    assert found.largest_sums(255).max() < ACCUMULATOR
    assert np.abs(found.weight).max() <= 256
    assert np.abs(sums).max() <= found.largest_results(255).max()


def test_sums_that_would_not_fit_get_coarser_weights():
    real = FoldedConv(weight=np.ones((1, 4096, 3, 3)), bias=np.zeros(1))
    found = integer_conv(real, scale=np.ones(1), largest_weight=2048, largest_input=255)
    assert found.largest_sums(255).max() < ACCUMULATOR
    assert 0 < found.weight.max() < 2048


def test_more_bits_come_nearer_to_the_trained_conditioner():
    generator = np.random.default_rng(1)
    net = FoldedConditioner(
        conv1=conv(generator, 16, 3, 3), conv2=conv(generator, 16, 16, 1), conv3=conv(generator, 3, 16, 3)
    )
    q = generator.integers(-4000, 4000, (8, 3, 6, 6))
    spacing = 2.0**-10
    real = q * spacing
    for part in (net.conv1, net.conv2):
        real = np.maximum(convolve_real(real, part), 0)
    wanted = convolve_real(real, net.conv3) / spacing
    errors = []
    for bits in (4, 8, 11):
        made = integer_conditioner(net, q, spacing=spacing, sign=np.array([1, 1, -1]), bits=bits)
        got = ExactModel(None).conditioner(q, made) * np.array([1, 1, -1])[:, None, None]
        errors.append(float(np.sqrt(((got - wanted) ** 2).mean())))
    assert errors[0] > 4 * errors[1] > 8 * errors[2]
    assert errors[1] < 0.02 * np.abs(wanted).max()


@pytest.mark.parametrize("number", ["fp16", "bf16"])
@pytest.mark.parametrize("size", [1, 100, -1e5])  # a border far below zero does not show in the hidden activations
def test_a_border_far_larger_than_the_weights_is_held_in_16_bit(number, size):
    generator = np.random.default_rng(1)
    first = conv(generator, 16, 3, 3, edge=True)
    first = replace(first, edge=size * np.abs(first.edge))
    net = FoldedConditioner(conv1=first, conv2=conv(generator, 16, 16, 1), conv3=conv(generator, 3, 16, 3))
    q = generator.integers(-4000, 4000, (8, 3, 6, 6))
    bits = FORMATS[number].bits
    made = integer_conditioner(net, q, spacing=2.0**-10, sign=np.ones(3), bits=bits, narrow=number)
    assert unfit(made) is None
    error = run_real(net, q * 2.0**-10) * 2.0**10 - ExactModel(None).conditioner(q, made)
    inner = error if size > 0 else error[..., 2:-2, 2:-2]
    assert np.abs(inner).max() < 0.02 * np.abs(run_real(net, q * 2.0**-10)).max() * 2.0**10


def test_the_result_is_right_at_the_median():
    generator = np.random.default_rng(2)
    net = FoldedConditioner(
        conv1=conv(generator, 16, 3, 3), conv2=conv(generator, 16, 16, 1), conv3=conv(generator, 3, 16, 3)
    )
    q = generator.integers(-4000, 4000, (8, 3, 6, 6))
    q[:, :, 1:] = 100  # most of it is one colour
    wanted = run_real(net, q * 2.0**-10) / 2.0**-10
    made = integer_conditioner(net, q, spacing=2.0**-10, sign=np.ones(3, dtype=np.int64), bits=5)
    run = ExactModel(None)
    before = np.median(wanted - run.conditioner(q, made), axis=(0, 2, 3))
    after = np.median(wanted - run.conditioner(q, centred(made, wanted - run.conditioner(q, made))), axis=(0, 2, 3))
    assert (np.abs(after) <= 1).all()
    assert np.abs(before).max() > 3


def test_what_is_read_of_the_trunk_fits_its_bits():
    q = np.random.default_rng(2).integers(-100_000, 100_000, (16, 3, 4, 4))
    rounding = rounding_of(q)
    assert 0.4 * rounding.largest < np.abs(q).max() / 2**rounding.shift <= 1.1 * rounding.largest
    assert rounding_of(np.zeros((1, 3, 4, 4), dtype=np.int64)).shift == 0

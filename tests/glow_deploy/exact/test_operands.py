from __future__ import annotations

import numpy as np

from glow_deploy.exact.interpret import read, scaled_sums
from glow_deploy.exact.narrow import FORMATS
from glow_deploy.exact.operands import edge_planes, narrow_conv, unfit


def test_operands_in_16_bit_are_those_of_the_integers(narrow):
    """The sums that they give, planes of ones and both limbs included, are those of the reference."""
    from glow_deploy.exact.conditioners import convolve

    net = narrow.built.model.levels[0].steps[0].conditioner
    assert unfit(net) is None
    size = narrow.built.model.levels[0].shape[1:]
    q = np.random.default_rng(0).integers(-9000, 9000, (2, net.conv1.weight.shape[1], *size))
    values = read(q, net.input).astype(np.float64)
    limbs, form = net.narrow == "bf16", FORMATS[net.narrow]
    inputs = [values] if not limbs else [np.rint(values / 8) * 8, values - np.rint(values / 8) * 8]
    if net.conv1.edge is not None:
        ones = np.ones((2, 1, *size))
        inputs.append(ones * edge_planes(net.conv1)[None, :, None, None])
    made = narrow_conv(net.conv1, form, limbs=limbs)
    found = convolve(np.concatenate(inputs, axis=1) / 2.0**form.input_shift, made.weight) + made.bias[:, None, None]
    np.testing.assert_array_equal(found, scaled_sums(read(q, net.input), net.conv1)[0])

from __future__ import annotations

import numpy as np
import pytest
import torch

from glow_deploy.exact.conditioners import convolve
from glow_deploy.export.products import convolve_by_torch


@pytest.mark.parametrize(("outputs", "inputs", "size"), [(5, 3, 3), (3, 5, 3), (4, 4, 3), (4, 6, 1)])
def test_integers_are_convolved_as_in_float64(outputs, inputs, size):
    generator = np.random.default_rng(0)
    x = generator.integers(-1023, 1024, (3, inputs, 4, 6))
    weight = generator.integers(-256, 257, (outputs, inputs, size, size))
    found = convolve_by_torch(x, weight)
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, convolve(x, weight))


@pytest.mark.parametrize("size", [1, 3])
def test_integers_are_convolved_exactly_where_the_caller_allows_bfloat16(size):
    """Wide enough that a CPU with bfloat16 instructions uses them; elsewhere the setting changes nothing."""
    generator = np.random.default_rng(0)
    x = generator.integers(0, 2000, (2, 64, 16, 16))
    weight = generator.integers(-12, 13, (64, 64, size, size))
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    try:
        matmul.fp32_precision = "bf16"  # what set_float32_matmul_precision("medium") sets, and cannot take back
        found = convolve_by_torch(x, weight)
        assert matmul.fp32_precision == "bf16"
    finally:
        matmul.fp32_precision = before
    np.testing.assert_array_equal(found, convolve(x, weight))


def test_sums_beyond_float32_show_that_the_bound_is_needed():
    x = np.array([2**12, 2**12, 1]).reshape(1, 3, 1, 1)
    weight = np.array([2**12, 2**12, 1]).reshape(1, 3, 1, 1)
    assert convolve(x, weight).item() == 2**25 + 1
    assert convolve_by_torch(x, weight).item() != 2**25 + 1

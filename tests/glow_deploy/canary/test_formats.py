"""Rounding in float64 against NumPy's, ml_dtypes' and the hardware's bit patterns."""

from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.canary.formats import FORMATS, flush, round_to

VALUES = (
    np.random.default_rng(0).standard_normal(5000) * 2.0 ** np.random.default_rng(1).integers(-30, 12, 5000)
).astype(np.float32)


def test_float16_is_rounded_as_numpy_does_subnormal_numbers_included():
    assert (np.abs(VALUES) < 2.0**-14).sum() > 500
    np.testing.assert_array_equal(round_to(VALUES, FORMATS["fp16"]), VALUES.astype(np.float16).astype(np.float64))


def test_bfloat16_is_rounded_as_ml_dtypes_does():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    np.testing.assert_array_equal(
        round_to(VALUES, FORMATS["bf16"]), VALUES.astype(ml_dtypes.bfloat16).astype(np.float64)
    )


def test_tf32_is_float32_without_its_last_13_bits(kernels):
    full = (VALUES.view(np.uint32) | np.uint32(1)).view(np.float32)  # no ties
    np.testing.assert_array_equal(round_to(full, FORMATS["tf32"]), kernels.tf32(full))
    np.testing.assert_array_equal(round_to(full, FORMATS["tf32"], toward_zero=True), kernels.tf32_cut(full))
    assert not np.array_equal(kernels.tf32(full), kernels.tf32_cut(full))


def test_ties_go_to_even_and_zero_stays():
    number = FORMATS["tf32"]
    np.testing.assert_array_equal(
        round_to(np.array([0.0, 1 + 2.0**-11, 1 + 3 * 2.0**-11, -1 - 2.0**-11]), number), [0, 1, 1 + 2.0**-9, -1]
    )


def test_flushing_takes_subnormal_numbers_only():
    np.testing.assert_array_equal(
        flush(np.array([2.0**-14, -(2.0**-14), 2.0**-15, -(2.0**-24), 1.0]), FORMATS["fp16"]),
        [2.0**-14, -(2.0**-14), 0, 0, 1],
    )

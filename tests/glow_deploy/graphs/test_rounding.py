import ml_dtypes
import numpy as np
import pytest
import torch

from glow_deploy.errors import UsageError
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.graphs.rounding import UNIT_ROUNDOFF, Rounding, narrowed, round_values

PATHS = ("level1/step01", "level1/step02", "level2/step01")


@pytest.mark.parametrize(("mode", "dtype"), [("fp16", torch.float16), ("bf16", torch.bfloat16)])
def test_sixteen_bit_rounding_is_torchs(mode, dtype):
    # All exponents, subnormals and overflow included.
    values = np.random.default_rng(0).integers(0, 2**32, 200_000, dtype=np.uint32).view(np.float32)
    values = values[~np.isnan(values)]
    expected = torch.from_numpy(values).to(dtype).float().numpy()
    assert np.array_equal(round_values(values, mode), expected)


def test_tf32_rounding_is_to_nearest_even():
    rng = np.random.default_rng(1)
    values = rng.standard_normal(100_000).astype(np.float32) * 10.0 ** rng.integers(-20, 20, 100_000).astype(np.float32)
    ties = (values.view(np.uint32) & np.uint32(0xFFFFE000) | np.uint32(0x1000)).view(np.float32)
    values = np.concatenate([values, ties, np.float32([0.0, -0.0, np.inf, -np.inf, 1.5, 2**-130])])
    rounded = round_values(values, "tf32")
    assert (rounded.view(np.uint32) & 0x1FFF == 0).all()
    # By another way: scaled so that the last kept bit is a whole number, which rint rounds to even.
    finite = np.isfinite(values) & (np.abs(values) > 1e-37)
    mantissa, exponent = np.frexp(values[finite].astype(np.float64))
    assert np.array_equal(rounded[finite], np.ldexp(np.rint(mantissa * 2**11), exponent - 11).astype(np.float32))
    assert np.array_equal(rounded[np.isinf(values)], values[np.isinf(values)])


@pytest.mark.parametrize("mode", ["tf32", "fp16", "bf16"])
def test_the_unit_roundoff_bounds_the_error_and_is_nearly_reached(mode):
    values = np.random.default_rng(2).uniform(1, 2, 100_000).astype(np.float32)
    relative = np.abs(round_values(values, mode) / values.astype(np.float64) - 1).max()
    assert 0.9 * UNIT_ROUNDOFF[mode] < relative <= UNIT_ROUNDOFF[mode]


def test_float32_is_left_alone():
    values = np.random.default_rng(3).standard_normal((3, 4)).astype(np.float32)
    assert round_values(values, "fp32") is values


def test_weights_are_narrowed_by_way_of_float32():
    # Just above a tie of float16, by less than float32 can hold: in one step it would go up.
    value = 1 + 2.0**-11 + 2.0**-40
    assert narrowed(np.array([value]), "fp16", name="w") == 1
    assert narrowed(np.array(value), "fp16", name="w").shape == ()
    assert narrowed(np.array([1e5]), "bf16", name="w").dtype == ml_dtypes.bfloat16
    with pytest.raises(UsageError, match="weight w reaches 1e\\+05"):
        narrowed(np.array([0.0, -1e5]), "fp16", name="w")


def test_what_is_rounded_can_be_said():
    rounding = Rounding.of(PrecisionPlan.auto(PATHS, narrow=PATHS[:2]))
    assert rounding.label == "conditioners 1 fp32 and 2 fp16, trunk fp32"
    assert Rounding.of(PrecisionPlan.uniform("fp16", PATHS)) == Rounding.uniform(
        PATHS, conditioners="fp16", trunk="fp16"
    )
    assert Rounding.uniform(PATHS, conditioners="tf32").label == "conditioners tf32, trunk fp32"
    with pytest.raises(UsageError, match="int8"):
        Rounding(trunk="fp32", conditioners={"level1/step01": "int8"})

"""Kernels in NumPy, in every mode: each is told from all others, with room to spare."""

from __future__ import annotations

import json
from functools import partial
from itertools import pairwise

import numpy as np
import pytest

from glow_deploy.canary import detect, make_canary
from glow_deploy.canary.detect import LEAST_MARGIN
from glow_deploy.canary.operands import BATCH, CHANNELS, SIZE

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def kernel(kernels):
    """`kernel(x="tf32", w="tf32", total="running", result="same")` is a convolution of `Kernels` by name."""

    def make(**names):
        return partial(kernels.direct, **{role: getattr(kernels, name) for role, name in names.items()})

    return make


# Sums in float32 in another order, and subnormal numbers flushed: margins over 400.
FLOAT32 = {
    "library": {},
    "one running sum": {"total": "running"},
    "backwards": {"total": "backwards"},
    "blocks of 32": {"total": "blocked"},
    "pairwise": {"total": "pairwise"},
    "subnormals flushed": {"x": "flushed", "w": "flushed", "result": "flushed"},
}


@pytest.mark.parametrize("name", FLOAT32)
@pytest.mark.parametrize("seed", SEEDS)
def test_float32_is_float32_in_any_order_of_summation(runner, kernel, name, seed):
    canary = make_canary(seed=seed)
    result = detect(runner(kernel(**FLOAT32[name]), canary=canary), canary=canary)
    assert (result.detected, result.text, result.float32) == ("fp32", "float32 (measured)", True)
    assert result.error < 1e-6
    assert min(found.margin for found in result.convolutions.values()) > 300


REDUCED = {
    "tf32": ("tf32", {"x": "tf32", "w": "tf32"}, 300),
    "tf32, running sum": ("tf32", {"x": "tf32", "w": "tf32", "total": "running"}, 300),
    "tf32, bits dropped": ("tf32", {"x": "tf32_cut", "w": "tf32_cut"}, 300),
    "tf32, weights rounded, activations cut": ("tf32", {"x": "tf32_cut", "w": "tf32"}, 300),
    "bf16": ("bf16", {"x": "bf16", "w": "bf16"}, 1000),
    "bf16, results too": ("bf16", {"x": "bf16", "w": "bf16", "result": "bf16"}, 1000),
    "fp16": ("fp16", {"x": "fp16", "w": "fp16"}, 1000),
    "fp16, results too": ("fp16", {"x": "fp16", "w": "fp16", "result": "fp16"}, 1000),
    "fp16, sums too": ("fp16", {"x": "fp16", "w": "fp16", "total": "running_fp16", "result": "fp16"}, 15),
    "fp16, subnormals flushed": ("fp16", {"x": "fp16_flushed", "w": "fp16"}, 1000),
}


@pytest.mark.parametrize("name", REDUCED)
@pytest.mark.parametrize("seed", SEEDS)
def test_reduced_operands_are_named(runner, kernel, name, seed):
    mode, options, least = REDUCED[name]
    canary = make_canary(seed=seed)
    result = detect(runner(kernel(**options), canary=canary), canary=canary)
    assert result.detected == mode
    assert not result.float32
    for found in result.convolutions.values():
        assert found.detected == mode
        assert found.margin > least
        assert found.rounding


def test_the_expected_errors_lie_far_apart_and_are_met(runner, kernel):
    for mode in ("tf32", "bf16", "fp16"):
        result = detect(runner(kernel(x=mode, w=mode)))
        assert result.error == pytest.approx(result.expected[mode], rel=1e-2)
    running = detect(runner(kernel(total="running")))
    for found in running.convolutions.values():
        assert found.error == pytest.approx(found.expected["fp32"], rel=0.2)
        errors = [found.expected[mode] for mode in ("fp32", "tf32", "bf16", "fp16")]
        assert min(later / earlier for earlier, later in pairwise(errors)) > 7
        assert errors[1] / errors[0] > 400


@pytest.mark.parametrize("kind", ["1x1", "3x3"])
def test_one_kind_of_convolution_in_tf32_is_enough(runner, kernel, kind):
    exact, reduced = kernel(), kernel(x="tf32", w="tf32")
    result = detect(runner(*((reduced, exact) if kind == "1x1" else (exact, reduced))))
    other = {"1x1": "3x3", "3x3": "1x1"}[kind]
    assert result.detected == "tf32"
    assert result.error > 1e-4
    assert result.convolutions[other].detected == "fp32"
    assert (f"{kind} TF32!" in result.text, f"{other} float32" in result.text) == (True, True)


def test_a_transformed_float32_kernel_is_float32_and_a_transformed_tf32_kernel_is_not(runner, kernels, kernel):
    """Winograd rounds transformed operands, in a pattern of its own: larger errors, which fit nothing known."""
    result = detect(runner(kernel(), kernels.winograd))
    assert result.float32
    assert result.error > 1e-6
    assert result.margin > 50
    for rounding in (kernels.tf32, kernels.tf32_cut, kernels.fp16):
        result = detect(runner(kernel(), partial(kernels.winograd, x=rounding, w=rounding)))
        assert result.detected == "unknown"
        assert result.text == "1x1 float32, 3x3 unknown"
        assert "no known rounding" in result.reason


@pytest.mark.parametrize("size", [3e-6, 3e-5, 1e-4, 2.6e-4, 7e-4, 2e-3, 3e-2])
@pytest.mark.parametrize("seed", SEEDS)
def test_noise_of_any_size_is_never_taken_for_a_number_format(runner, kernel, size, seed):
    rng = np.random.default_rng(seed)

    def noisy(images, weight):
        values = kernel()(images, weight)
        scale = size * np.sqrt(np.mean(values.astype(np.float64) ** 2))
        return (values + scale * rng.standard_normal(values.shape)).astype(np.float32)

    assert detect(runner(noisy)).detected == ("fp32" if size < 5e-6 else "unknown")


@pytest.mark.parametrize("factor", [1 + 2e-4, 1 - 6.5e-4, 1 + 2e-3, -1.0, 0.0])
def test_a_scaled_result_is_unknown(runner, kernel, factor):
    result = detect(runner(lambda images, weight: kernel()(images, weight) * np.float32(factor)))
    assert result.detected == "unknown"
    assert result.margin < LEAST_MARGIN


def test_operands_of_which_only_one_is_rounded_are_unknown(runner, kernel):
    """10 bits in the weights alone may be TF32 or float16: not float32, and no more can be said."""
    assert detect(runner(kernel(w="tf32"))).detected == "unknown"
    assert detect(runner(kernel(x="bf16"))).detected == "unknown"


def test_the_weights_of_another_canary_are_unknown(runner, kernel):
    assert detect(runner(kernel(), canary=make_canary(seed=1))).detected == "unknown"


def test_a_row_of_the_batch_that_is_wrong_is_noticed(runner, kernel):
    def run(x):
        result = runner(kernel())(x)
        result[17] = result[0][::-1]
        return result

    assert detect(run).detected == "unknown"


def _with(value):
    def run(x):
        result = np.zeros((BATCH, CHANNELS, SIZE, SIZE), np.float32)
        result[3, 4, 5, 6] = value
        return result

    return run


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (_with(np.nan), "1 of 1048576 values are not finite"),
        (_with(np.inf), "1 of 1048576 values are not finite"),
        (lambda x: x[:, :64], "[32, 64, 16, 16]"),
        (lambda x: x[:8], "[8, 128, 16, 16]"),
        (lambda x: x.astype(np.int64), "int64"),
        (lambda x: None, "NoneType"),
        (lambda x: x, "no known rounding"),
        (lambda x: np.full(x.shape, 1e200), "not finite"),
        (lambda x: np.full(x.shape, 3e38, np.float32), "no known rounding"),
        (lambda x: np.random.default_rng(0).standard_normal(x.shape), "no known rounding"),
    ],
)
def test_garbage_is_unknown_with_the_reason(run, words):
    result = detect(run)
    assert result.detected == "unknown"
    assert words in result.reason
    assert "unknown" in result.text
    table = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert table["detected"] == "unknown"
    assert set(table["expected"]) == {"fp32", "tf32", "bf16", "fp16"}


def test_what_a_runner_raises_is_passed_on():
    def run(x):
        raise MemoryError

    with pytest.raises(MemoryError):
        detect(run)


def test_the_dictionary_has_the_figures(runner, kernel):
    result = detect(runner(kernel(x="tf32", w="tf32"), kernel()))
    table = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert (table["detected"], table["error"], table["margin"]) == ("tf32", result.error, result.margin)
    assert table["expected"]["tf32"] == result.expected["tf32"]
    assert table["convolutions"]["3x3"]["detected"] == "fp32"
    assert table["convolutions"]["1x1"]["rounding"] == "activations to nearest, weights to nearest"

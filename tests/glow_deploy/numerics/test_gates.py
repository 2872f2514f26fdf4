from __future__ import annotations

import math

import numpy as np
import pytest

from glow_deploy.artifact.figures import Figures
from glow_deploy.errors import UsageError
from glow_deploy.numerics.gates import (
    bits_limits,
    factors_for,
    gate_equivalence,
    gate_error,
    gate_exactness,
    growth,
    image_limits,
    latent_limits,
)
from glow_deploy.numerics.measures import Exactness, summarize

FACTORS = factors_for("fp32")
BASE = Figures(rms=1e-5, p999=4e-5, max=1e-4)
NOTHING = Figures(rms=0.0, p999=0.0, max=0.0)


def error(rms, *, n=2000):
    values = np.full((n, 1), rms)
    return summarize(values, np.zeros((n, 1)))


def judge(summary, limits):
    return {gate.statistic: gate for gate in gate_error(summary, limits, quantity="z1", verdict="round_trip", level=1)}


def z_limits(base, *, factor=4.0):
    return latent_limits(base, factor=factor, factors=FACTORS, scale=1.0)


@pytest.mark.parametrize(("rms", "passed"), [(3.9e-5, True), (4.1e-5, False)])
def test_the_rms_limit_is_the_factor_times_the_yardstick(rms, passed):
    gate = judge(error(rms), z_limits(BASE))["rms"]
    assert gate.passed is passed
    assert gate.limit == pytest.approx(4e-5)
    assert "4 x 1.00e-05" in gate.derivation


def test_a_heavy_tail_fails_by_its_quantile_alone():
    values = np.full((10000, 1), 1e-6)
    values[:20] = 5e-4
    gates = judge(summarize(values, np.zeros_like(values)), z_limits(BASE))
    assert gates["rms"].passed
    assert not gates["p99.9"].passed


def test_one_large_error_among_many_does_not_fail():
    values = np.full((100000, 1), 1e-6)
    values[7] = 5e-4
    assert all(gate.passed for gate in judge(summarize(values, np.zeros_like(values)), z_limits(BASE)).values())


def test_few_values_have_no_quantile_to_gate():
    assert "p99.9" not in judge(error(1e-6, n=999), z_limits(BASE))


def test_a_yardstick_of_zero_leaves_a_few_roundings():
    assert judge(error(3 * 2.0**-23), z_limits(NOTHING))["rms"].passed
    gate = judge(error(5 * 2.0**-23), z_limits(NOTHING))["rms"]
    assert not gate.passed
    assert "float32 roundings" in gate.derivation


def test_an_unsound_model_is_not_its_own_excuse():
    awful = Figures(rms=1.0, p999=3.0, max=9.0)
    image = judge(error(0.1), image_limits(awful, factor=4.0, factors=FACTORS, n_bits=8))
    assert not image["rms"].passed
    assert image["rms"].limit == pytest.approx(2.0**-9 / 3)
    bits = judge(error(0.01), bits_limits(awful, factor=4.0, factors=FACTORS, scale=2.0))
    assert not bits["rms"].passed


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_non_finite_values_fail_before_anything_else(bad):
    values = np.full((2000, 1), 1e-9)
    values[3] = bad
    gates = gate_error(
        summarize(values, np.zeros_like(values)), z_limits(BASE), quantity="z1", verdict="round_trip", level=1
    )
    assert gates[0].statistic == "non-finite"
    assert not gates[0].passed


def test_no_value_at_all_is_no_pass():
    nothing = summarize(np.full((4, 1), math.nan), np.zeros((4, 1)))
    assert not any(gate.passed for gate in judge(nothing, z_limits(BASE)).values())
    empty = summarize(np.zeros((0, 1)), np.zeros((0, 1)))
    assert not any(gate.passed for gate in judge(empty, z_limits(BASE)).values())


def test_a_yardstick_that_is_no_number_excuses_nothing():
    broken = Figures(rms=math.nan, p999=math.nan, max=math.nan)
    gate = judge(error(1e-3), z_limits(broken))["rms"]
    assert not gate.passed
    assert math.isfinite(gate.limit)


def exactness(exact):
    return Exactness(images=100, images_exact=exact, pixels=1000, pixels_exact=900 + exact, worst_image=None)


def test_exactness_is_gated_where_it_is_to_be_expected():
    good = gate_exactness(exactness(100), Figures(rms=1e-6, p999=1e-5, max=1e-5), margin=10, n_bits=8)
    lost = gate_exactness(exactness(99), Figures(rms=1e-6, p999=1e-5, max=1e-5), margin=10, n_bits=8)
    assert good is not None
    assert good.passed
    assert lost is not None
    assert not lost.passed


@pytest.mark.parametrize("top", [1e-3, math.nan, math.inf])
def test_exactness_is_only_reported_where_it_is_not_to_be_expected(top):
    assert gate_exactness(exactness(99), Figures(rms=1e-4, p999=5e-4, max=top), margin=10, n_bits=8) is None


def test_few_golden_images_widen_the_unpaired_factor():
    assert growth(FACTORS, 1) == 4.0
    assert growth(FACTORS, 1) > growth(FACTORS, 16) > growth(FACTORS, 10**6) > 1.0


def test_a_precision_without_measured_factors_is_refused():
    with pytest.raises(UsageError, match="int3"):
        factors_for("int3")


@pytest.mark.parametrize("verdict", ["round_trip", "likelihood", "samples"])
def test_a_gate_belongs_to_the_verdict_it_was_made_for_whatever_its_label(verdict):
    for label in ("bits/dim", "z1", "x from the reference's latents", "anything else"):
        gates = gate_error(error(1.0), z_limits(BASE), quantity=label, verdict=verdict)
        assert {gate.verdict for gate in gates} == {verdict}


@pytest.mark.parametrize(("mean", "spread", "passed"), [(2e-6, 1e-6, True), (2e-5, 1e-6, False), (0.0, 1e-3, False)])
def test_equal_likelihoods_must_be_shown_not_merely_compatible(mean, spread, passed):
    """The last: no difference to be seen, in figures too scattered to show that there is none."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(64)
    summary = summarize(3.0 + mean + spread * (noise - noise.mean()), np.full(64, 3.0))
    gate = gate_equivalence(summary, factors=FACTORS, quantity="bits/dim")
    assert gate.passed is passed
    assert gate.verdict == "likelihood"


def test_equivalence_of_values_that_are_not_numbers_fails():
    summary = summarize(np.array([3.0, math.nan]), np.array([3.0, 3.0]))
    assert not gate_equivalence(summary, factors=FACTORS, quantity="bits/dim").passed

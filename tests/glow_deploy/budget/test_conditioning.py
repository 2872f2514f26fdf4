"""What the weights alone say: the step that was spoilt is the step that is named, and no other."""

from dataclasses import replace

import numpy as np
import pytest

from glow_deploy.budget import measure_budget
from glow_deploy.budget.conditioning import measure_conditioning
from glow_deploy.errors import BundleError
from glow_deploy.folding import FoldedConv
from glow_deploy.graphs.decoder import build_decoder
from glow_deploy.graphs.describe import describe
from glow_deploy.graphs.encoder import build_encoder
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.numerics.float64 import Float64Graph

STEPS = ["level1/step01", "level1/step03", "level2/step01", "level2/step02"]


def parts(step):
    level, number = step.split("/")
    return int(level.removeprefix("level")), int(number.removeprefix("step"))


def stretched(smallest):
    """A 1x1 convolution whose smallest singular value is `smallest`, the others as they were."""

    def change(step):
        u, values, v = np.linalg.svd(step.encode.weight[:, :, 0, 0])
        values[-1] = smallest
        encode = (u * values) @ v
        decode = np.linalg.inv(encode)
        return replace(
            step,
            encode=FoldedConv(weight=encode[:, :, None, None], bias=step.encode.bias),
            decode=FoldedConv(weight=decode[:, :, None, None], bias=-decode @ step.encode.bias),
        )

    return change


def test_a_sound_model_has_no_flags(small_glow, graphs, images):
    report = measure_budget(*graphs(small_glow()), images(2, (3, 16, 16)))
    assert report.flags == ()
    assert all(step.inverse_residual < 1e-6 for step in report.steps)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("smallest", "policy"), [(1e-4, "fp32"), (8e-3, "fp16")])
def test_an_ill_conditioned_1x1_is_flagged_and_no_other(
    smallest, policy, step, small_glow, changed_step, graphs, images
):
    folded = changed_step(small_glow(), *parts(step), stretched(smallest))
    report = measure_budget(*graphs(folded), images(2, (3, 16, 16)))
    found = {flag.figure: flag for flag in report.flags}
    assert {flag.step for flag in report.flags} == {step}
    assert {"kappa", "smallest_actnorm"} == set(found)
    assert {flag.policy for flag in report.flags} == {policy}
    assert found["smallest_actnorm"].value == pytest.approx(smallest, rel=0.05)
    row = next(row for row in report.steps if row.step == step)
    assert row.kappa == found["kappa"].value > 100.0


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(("v", "policy"), [(-9.0, "fp32"), (-5.5, "fp16"), (-1.0, None)])
def test_a_scale_near_zero_is_flagged(v, policy, step, small_glow, changed_step, graphs, images):
    def close(folded_step):
        conv3 = folded_step.conditioner.conv3
        half = len(conv3.bias) // 2
        weight, bias = conv3.weight.copy(), conv3.bias.copy()
        weight[half], bias[half] = 0.0, v  # the scale of one channel is sigmoid(v) everywhere
        return replace(
            folded_step, conditioner=replace(folded_step.conditioner, conv3=FoldedConv(weight=weight, bias=bias))
        )

    folded = changed_step(small_glow(bounded_scale=False), *parts(step), close)
    report = measure_budget(*graphs(folded), images(2, (3, 16, 16)))
    expected = [] if policy is None else [(step, "smallest_scale", policy)]
    assert [(flag.step, flag.figure, flag.policy) for flag in report.flags] == expected
    row = next(row for row in report.steps if row.step == step)
    assert row.smallest_scale == pytest.approx(1 / (1 + np.exp(-v)), rel=1e-6)


def test_an_additive_coupling_has_scale_one(small_glow, graphs, images):
    report = measure_budget(*graphs(small_glow(coupling="additive", steps=1)), images(2, (3, 16, 16)))
    assert {step.smallest_scale for step in report.steps} == {1.0}


@pytest.mark.parametrize("step", STEPS)
def test_a_decoder_that_is_not_the_inverse_is_flagged(step, small_glow, changed_step, graphs, images):
    folded = small_glow()

    def spoil(folded_step):
        weight = folded_step.decode.weight.copy()
        weight.flat[np.abs(weight).argmax()] *= 1.001
        return replace(folded_step, decode=FoldedConv(weight=weight, bias=folded_step.decode.bias))

    encoder, _ = graphs(folded)
    _, decoder = graphs(changed_step(folded, *parts(step), spoil))
    report = measure_budget(encoder, decoder, images(2, (3, 16, 16)))
    assert [(flag.step, flag.figure, flag.policy) for flag in report.flags] == [(step, "inverse_residual", "fp32")]


@pytest.mark.parametrize("name", ["mixed", "bf16-mixed", "fp16"])
def test_graphs_in_16_bits_are_measured_too(name, small_glow, images):
    """Their 1x1 convolutions are inverse only as far as their own type can store them."""
    folded = small_glow(steps=2)
    plan = PrecisionPlan.uniform(name, folded)
    encoder, decoder = (
        build(
            folded, metadata=describe(folded, role=role, precision=name, model_id=folded.model_id()), plan=plan
        ).to_model()
        for role, build in (("encoder", build_encoder), ("decoder", build_decoder))
    )
    report = measure_budget(encoder, decoder, images(2, (3, 16, 16)))
    assert report.flags == ()
    worst = max(step.inverse_residual for step in report.steps)
    assert (worst > 1e-5) is (name == "fp16")


def test_graphs_of_different_models_do_not_fit(small_glow, graphs):
    grey, colour = graphs(small_glow(channels=1, steps=1)), graphs(small_glow(steps=1))
    with pytest.raises(BundleError, match="do not fit"):
        measure_conditioning(Float64Graph(grey[0]), Float64Graph(colour[1]), "level1/step01")
    with pytest.raises(BundleError, match="no weight 'level9"):
        measure_conditioning(Float64Graph(grey[0]), Float64Graph(grey[1]), "level9/step01")

"""Predicted against observed, in onnxruntime and its simulated roundings."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from glow_deploy.budget import PRECISIONS, measure_budget, predict, predict_precision
from glow_deploy.budget.gains import measure_profile
from glow_deploy.errors import UsageError
from glow_deploy.graphs.precision_plan import PrecisionPlan
from glow_deploy.graphs.rounding import Rounding
from glow_deploy.numerics.float64 import Float64Graph
from glow_deploy.precision.simulate import open_simulated

OPTIONS = {
    "affine": {},
    "unbounded": {"bounded_scale": False, "image_size": (8, 8), "steps": 8},
    "additive": {"coupling": "additive", "levels": 1, "steps": 6},
    "edges": {"edge_bias": True},
    "independent": {"prior": "independent", "edge_bias": True, "coupling": "additive"},
}


def observe(models, precision, steps, x):
    """The difference x_hat - x of a round trip with everything in one precision."""
    if precision == "tf32":
        rounding = Rounding.uniform(steps, trunk="tf32", conditioners="tf32")
    else:
        rounding = None if precision == "fp32" else PrecisionPlan.uniform(precision, steps)
    encoder, decoder = open_simulated(dict(zip(("encoder", "decoder"), models, strict=True)), rounding, threads=1)
    with encoder, decoder:
        latents = encoder.run({"x": x})
        del latents["log_prob"]
        return decoder.run(latents)["x"].astype(np.float64) - x


@pytest.fixture(scope="module", params=OPTIONS)
def case(request, small_glow, graphs, images):
    folded = small_glow(**OPTIONS[request.param])
    models = graphs(folded)
    x = images(64, folded.image_shape)
    return models, x, measure_budget(*models, x)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_rms_observed_is_within_a_factor_of_three(precision, case):
    models, x, report = case
    error = observe(models, precision, [step.step for step in report.steps], x)
    prediction = report.predicted[precision]
    assert np.isfinite(error).all()
    assert not prediction.overflows
    ratio = prediction.rms / np.sqrt(np.mean(error**2))
    if prediction.hit_share * len(x) < 10:
        # Too few images are expected to be hit for their rms to say much: it may only be smaller.
        assert ratio > 1 / 3
    else:
        assert 1 / 3 < ratio < 3
    # The comparison can fail: a step whose gain is wrong by 30 is noticed.
    profile = report.profile
    wrong = replace(
        profile,
        steps=tuple(replace(step, gain=30 * step.gain, response=30 * step.response) for step in profile.steps),
    )
    assert predict_precision(wrong, precision).rms / prediction.rms > 3


def test_images_are_hit_as_often_as_expected(small_glow, graphs, images):
    folded = small_glow()
    models, x = graphs(folded), images(128, (3, 16, 16))
    report = measure_budget(*models, x)
    for precision in ("mixed", "bf16-mixed"):
        error = observe(models, precision, [step.step for step in report.steps], x)
        hit = np.mean(np.sqrt(np.mean(error**2, axis=(1, 2, 3))) > 5 * report.predicted["fp32"].rms)
        assert abs(hit - report.predicted[precision].hit_share) < 0.3, precision
    assert report.predicted["bf16-mixed"].hit_share < report.predicted["mixed"].hit_share
    assert report.predicted["fp32"].hit_share == 1.0


def test_couplings_that_do_nothing_cost_nothing_in_16_bits(linear_model, rotation, graphs, images):
    folded = linear_model([rotation(12, seed=index) for index in range(3)])
    report = measure_budget(*graphs(folded), images(2, (3, 8, 8)))
    assert report.predicted["mixed"].rms == report.predicted["fp32"].rms
    assert report.predicted["fp16"].rms > 1e3 * report.predicted["fp32"].rms


def test_every_conditioner_put_into_float16_adds_error(case):
    _, _, report = case
    steps = [step.step for step in report.steps]
    values = [
        predict(report.profile, trunk="fp32", conditioners=dict.fromkeys(steps[:count], "fp16")).rms
        for count in range(len(steps) + 1)
    ]
    assert values[0] == report.predicted["fp32"].rms
    assert values[-1] == report.predicted["mixed"].rms
    assert all(low < high for low, high in itertools.pairwise(values))
    named = predict(report.profile, trunk="fp32", conditioners=dict.fromkeys(steps, "fp32"))
    assert named == report.predicted["fp32"]


def test_values_beyond_float16_are_a_predicted_overflow_that_happens(linear_model, rotation, graphs, images):
    folded = linear_model(
        [rotation(12, seed=index) * scale for index, scale in enumerate((0.002, 0.002, 500.0, 500.0))]
    )
    models, x = graphs(folded), images(4, (3, 8, 8))
    report = measure_budget(*models, x)
    assert report.predicted["fp16"].overflows
    assert report.to_dict()["predicted_rms"]["fp16"] is None
    assert not report.predicted["fp32"].overflows
    assert not report.predicted["tf32"].overflows
    steps = [step.step for step in report.steps]
    assert not np.isfinite(observe(models, "fp16", steps, x)).all()
    assert np.isfinite(observe(models, "tf32", steps, x)).all()


def test_a_conditioner_beyond_float16_overflows_there_alone(small_glow, changed_step, graphs, images):
    def widen(step):
        net = step.conditioner
        return replace(
            step,
            conditioner=replace(
                net,
                conv1=replace(net.conv1, weight=1e6 * net.conv1.weight, bias=1e6 * net.conv1.bias),
                conv2=replace(net.conv2, weight=net.conv2.weight / 1e6),
            ),
        )

    folded = changed_step(small_glow(), 2, 3, widen)
    report = measure_budget(*graphs(folded), images(2, (3, 16, 16)))
    overflowing = {name for name, prediction in report.predicted.items() if prediction.overflows}
    assert overflowing == {"mixed", "fp16"}
    others = {step.step: "fp16" for step in report.steps if step.step != "level2/step03"}
    assert not predict(report.profile, trunk="fp32", conditioners=others).overflows


def test_an_edge_beyond_float16_overflows_there_alone(small_glow, changed_step, graphs, images):
    def raise_edge(step):
        net = step.conditioner
        conv1 = replace(net.conv1, edge=net.conv1.edge - np.float32(1e5))  # which the ReLU then cuts off
        return replace(step, conditioner=replace(net, conv1=conv1))

    folded = changed_step(small_glow(edge_bias=True), 2, 3, raise_edge)
    report = measure_budget(*graphs(folded), images(2, (3, 16, 16)))
    assert {name for name, prediction in report.predicted.items() if prediction.overflows} == {"mixed", "fp16"}


def test_a_model_that_overflows_in_float64_is_predicted_to_overflow(small_glow, changed_step, graphs, images):
    def explode(step):
        conv3 = step.conditioner.conv3
        bias = conv3.bias.copy()
        bias[len(bias) // 2 :] = -800.0
        return replace(step, conditioner=replace(step.conditioner, conv3=replace(conv3, bias=bias)))

    folded = changed_step(small_glow(bounded_scale=False), 1, 2, explode)
    report = measure_budget(*graphs(folded), images(2, (3, 16, 16)))
    assert all(prediction.overflows for prediction in report.predicted.values())
    assert report.to_dict()["gamma"] is None
    assert ("level1/step02", "smallest_scale") in {(flag.step, flag.figure) for flag in report.flags}


def test_what_cannot_be_predicted_is_refused(small_glow, graphs, images):
    models = graphs(small_glow(steps=1))
    profile = measure_profile(*(Float64Graph(model) for model in models), images(1, (3, 16, 16)))
    with pytest.raises(UsageError, match="no step 'level7/step01'"):
        predict(profile, trunk="fp32", conditioners={"level7/step01": "fp16"})
    for trunk, mode in (("bf16", "bf16"), ("fp16", "fp32"), ("fp32", "tf32")):
        with pytest.raises(UsageError, match="a prediction is for one format throughout"):
            predict(profile, trunk=trunk, conditioners={"level1/step01": mode})
    with pytest.raises(UsageError, match="'fp8'"):
        predict_precision(profile, "fp8")
    assert math.isfinite(predict(profile, trunk="fp16", conditioners={}).rms)

from __future__ import annotations

import json
import math

import pytest

from glow_deploy.artifact.sixteen_bit import ChoiceFigures, PrecisionFigures, RangeFigures, StepChoice, TensorFigures

STEP = {"step": "level1/step01", "number": "fp16", "gain": 1.5, "predicted": 0.01, "share": 0.4, "reason": ""}
KEPT = {**STEP, "step": "level1/step02", "number": "fp32", "predicted": None, "reason": "its gain is too large"}
TENSOR = {
    "name": "level1/step01/coupling/relu1:0",
    "number": "fp16",
    "largest": 12.5,
    "headroom_bits": 12.4,
    "subnormal_share": 0.25,
    "non_finite": 0,
}
RANGES = {"images": 10, "headroom_bits": {"level1/step01": 12.4, "level1/step02": None}, "worst": TENSOR}
CHOICE = {
    "tolerance": 0.5,
    "n": 100,
    "bound": 0.03,
    "confidence": 0.99,
    "share": 0.4,
    "simulations": 2,
    "tail": 0.1,
    "worst": None,
    "tail_margin": 2.0,
    "worst_margin": 1.5,
    "steps": [STEP, KEPT],
}
ERROR = {"rms": 1e-4, "p999": 2e-4, "max": 3e-4}
ERRORS = {
    "n": 10,
    "non_finite": 0,
    "x_hat": ERROR,
    "z": {"z1": ERROR},
    "bits_per_dim": ERROR,
    "zxz": {"z1": ERROR},
}
PRECISION = {
    "plan": {"name": "auto"},
    "share_16_bit": 0.4,
    "measured_on": "simulation",
    "figures": ERRORS,
    "exact_images": 9,
    "onnxruntime_cpu": ERRORS,
    "ranges": RANGES,
    "choice": CHOICE,
}
KINDS = [(TensorFigures, TENSOR), (RangeFigures, RANGES), (StepChoice, STEP), (ChoiceFigures, CHOICE)]


def read(kind, values):
    if kind is PrecisionFigures:
        return kind.from_dict(values, levels=1, where="p")
    return kind.from_dict(values, where="p")


@pytest.mark.parametrize(("kind", "values"), [*KINDS, (PrecisionFigures, PRECISION)])
def test_what_is_written_is_read_back(kind, values):
    assert json.loads(json.dumps(read(kind, values).to_dict())) == values


@pytest.mark.parametrize(
    ("kind", "values", "key"),
    [
        (kind, values, key)
        for kind, values in [*KINDS, (PrecisionFigures, PRECISION)]
        for key in values
        if key != "confidence"
    ],
)
def test_a_missing_entry_is_told_by_its_place(kind, values, key):
    with pytest.raises(ValueError, match=rf"^p\.{key} is missing"):
        read(kind, {name: value for name, value in values.items() if name != key})


def test_null_is_infinite_headroom_and_an_unknown_error():
    found = read(PrecisionFigures, PRECISION)
    assert found.ranges.headroom_bits == {"level1/step01": 12.4, "level1/step02": math.inf}
    assert found.choice is not None
    assert math.isnan(found.choice.worst)
    assert read(TensorFigures, {**TENSOR, "largest": None}).largest == math.inf


def test_a_uniform_plan_has_no_choice_and_may_not_run_on_a_cpu():
    found = read(PrecisionFigures, {**PRECISION, "onnxruntime_cpu": None, "choice": None})
    assert found.onnxruntime_cpu is None
    assert found.choice is None
    assert read(RangeFigures, {**RANGES, "worst": None}).worst is None


def test_the_first_releases_knew_one_confidence_and_did_not_write_it_down():
    assert read(ChoiceFigures, {key: value for key, value in CHOICE.items() if key != "confidence"}).confidence == 0.95


def test_the_steps_that_were_kept_are_those_in_float32():
    assert [step.step for step in read(ChoiceFigures, CHOICE).kept] == ["level1/step02"]


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (TensorFigures, {**TENSOR, "non_finite": -1}, r"p\.non_finite is '-1'; it must be a whole number"),
        (RangeFigures, {**RANGES, "headroom_bits": {"s": "3"}}, r"p\.headroom_bits\.s is '3'; it must be a number"),
        (RangeFigures, {**RANGES, "worst": 3}, r"p\.worst is missing or not an object"),
        (ChoiceFigures, {**CHOICE, "steps": [STEP, {}]}, r"p\.steps\[1\]\.step is missing"),
        (ChoiceFigures, {**CHOICE, "steps": None}, r"p\.steps is missing or not a list"),
        (PrecisionFigures, {**PRECISION, "figures": {}}, r"p\.figures\.n is missing"),
        (PrecisionFigures, {**PRECISION, "exact_images": 1.5}, r"p\.exact_images is '1.5'"),
    ],
)
def test_an_entry_of_another_kind_is_told_by_its_place(kind, values, message):
    with pytest.raises(ValueError, match=message):
        read(kind, values)

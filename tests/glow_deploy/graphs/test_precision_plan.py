import json

import pytest

from glow_core import GlowConfig
from glow_deploy.errors import BundleError, UsageError
from glow_deploy.folding.fold import fold
from glow_deploy.graphs.precision_plan import PrecisionPlan, multiply_adds

PATHS = ("level1/step01", "level1/step02", "level2/step01")
UNIFORM = {
    "fp32": ("fp32", "fp32"),
    "mixed": ("fp32", "fp16"),
    "bf16-mixed": ("fp32", "bf16"),
    "fp16": ("fp16", "fp16"),
}


@pytest.fixture(scope="module")
def folded(perturbed_glow):
    return fold(perturbed_glow(GlowConfig(image_size=(8, 12), levels=2, steps=2, width=6)))


@pytest.mark.parametrize("name", UNIFORM)
def test_a_uniform_plan_treats_all_steps_alike(name, folded):
    trunk, number = UNIFORM[name]
    plan = PrecisionPlan.uniform(name, folded)
    assert (plan.name, plan.trunk, set(plan.conditioners.values())) == (name, trunk, {number})
    assert list(plan.conditioners) == ["level1/step01", "level1/step02", "level2/step01", "level2/step02"]
    assert plan.narrow == (() if number == "fp32" else tuple(plan.conditioners))
    assert PrecisionPlan.uniform(name, list(plan.conditioners)) == plan


def test_auto_keeps_in_float32_what_is_not_named(folded):
    plan = PrecisionPlan.auto(folded, narrow=["level2/step01"])
    assert plan.narrow == ("level2/step01",)
    assert plan.numbers == {"fp32", "fp16"}
    with pytest.raises(UsageError, match="level3/step01"):
        PrecisionPlan.auto(folded, narrow=["level3/step01"])


@pytest.mark.parametrize("name", [*UNIFORM, "auto"])
def test_a_plan_survives_json(name):
    plan = PrecisionPlan.auto(PATHS, narrow=PATHS[1:]) if name == "auto" else PrecisionPlan.uniform(name, PATHS)
    assert PrecisionPlan.from_dict(json.loads(json.dumps(plan.to_dict())), source="manifest.json") == plan


GOOD = {"name": "auto", "trunk": "fp32", "conditioners": {"level1/step01": "fp16"}}


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        {},
        {"name": "auto", "trunk": "fp32"},
        {**GOOD, "extra": 1},
        {**GOOD, "name": "int8"},
        {**GOOD, "name": ["auto"]},
        {**GOOD, "name": "mixed", "trunk": "fp16"},
        {**GOOD, "trunk": None},
        {**GOOD, "trunk": []},
        {**GOOD, "conditioners": {}},
        {**GOOD, "conditioners": ["level1/step01"]},
        {**GOOD, "conditioners": {"level1/step01": "bf16"}},
        {**GOOD, "conditioners": {"level1/step01": ["fp16"]}},
        {**GOOD, "conditioners": {"level1/step01": {}}},
        {**GOOD, "conditioners": {"level0/step01": "fp16"}},
        {**GOOD, "conditioners": {"../level1/step01": "fp16"}},
        {**GOOD, "conditioners": {1: "fp16"}},
    ],
)
def test_malformed_plans_are_refused_with_their_source(values):
    with pytest.raises(BundleError, match=r"^manifest\.json"):
        PrecisionPlan.from_dict(values, source="manifest.json")


@pytest.mark.parametrize("name", ["auto", "int8", ""])
def test_a_name_that_does_not_say_every_number_is_refused(name):
    with pytest.raises(UsageError, match="choose one of"):
        PrecisionPlan.uniform(name, PATHS)


def test_the_share_counts_every_convolution_once(folded):
    # By hand: width 6 on 12 channels at 4x6, then 24 channels at 2x3, affine, encoder and decoder.
    first = 2 * 24 * (9 * 6 * 6 + 6 * 6 + 9 * 6 * 12)
    second = 2 * 6 * (9 * 12 * 6 + 6 * 6 + 9 * 6 * 24)
    trunk = 2 * (24 * 2 * 12 * 12 + 6 * 2 * 24 * 24 + 24 * 9 * 6 * 12)
    counts = multiply_adds(folded)
    assert dict(counts) == {
        "level1/step01": first,
        "level1/step02": first,
        "level2/step01": second,
        "level2/step02": second,
        "trunk": trunk,
    }
    total = 2 * first + 2 * second + trunk
    assert PrecisionPlan.uniform("fp32", folded).share(folded) == 0
    assert PrecisionPlan.uniform("fp16", folded).share(folded) == 1
    assert PrecisionPlan.uniform("mixed", folded).share(folded) == pytest.approx((total - trunk) / total)
    assert PrecisionPlan.auto(folded, narrow=["level2/step02"]).share(folded) == pytest.approx(second / total)


def test_a_plan_for_another_model_is_noticed(folded):
    with pytest.raises(UsageError, match="nothing for level2/step02"):
        PrecisionPlan.uniform("mixed", PATHS).check(folded)
    more = [*PrecisionPlan.uniform("mixed", folded).conditioners, "level3/step01"]
    with pytest.raises(UsageError, match="level3/step01, which the model does not have"):
        PrecisionPlan.uniform("mixed", more).check(folded)

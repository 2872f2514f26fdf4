"""Planted faults: each must be named, at its step, in the graph it is in, for the right reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from blame import ROLES, assert_named, largest_entry, scaled

STEPS = ["level1/step01", "level1/step03", "level2/step02"]
LAST = "level2/step03"


def shifted(name, amount):
    def change(found, array):
        if found != name:
            return None
        array.reshape(-1)[0] += amount
        return array

    return change


def rounded_to_11_bits(prefix):
    def change(found, array):
        if not found.startswith(prefix) or array.dtype != np.float32:
            return None
        bits = np.ascontiguousarray(array).view(np.uint32).astype(np.uint64) + (1 << 12)
        return (bits & 0xFFFFE000).astype(np.uint32).view(np.float32)

    return change


@pytest.mark.parametrize(("role", "direction"), ROLES)
@pytest.mark.parametrize(
    ("step", "told_by"), [*((step, "golden") for step in STEPS), ("level1/step01", "trained"), (LAST, "trained")]
)
def test_an_entry_of_a_1x1_off_by_1_percent(case, step, role, direction, told_by):
    model = case()
    options = {} if told_by == "golden" else {"golden": None, "trained": dict(model.folded.named_arrays())}
    report = model.change(role, largest_entry(f"{step}/invconv/weight", 1.01)).measure(**options)
    assert_named(report, step, direction, "weights")
    assert [jump.step for jump in report.backends[0].jumps] == [step]


@pytest.mark.parametrize(("role", "direction"), ROLES)
@pytest.mark.parametrize(
    ("conv", "kind"), [("conv1", {}), ("conv3", {"bounded_scale": False}), ("conv2", {"coupling": "additive"})]
)
def test_a_conditioner_conv_off_by_2_percent(case, conv, role, direction, kind):
    name = f"level1/step03/coupling/{conv}/weight"
    report = case(**kind).change(role, scaled(name, 1.02)).measure()
    assert_named(report, "level1/step03", direction, "weights", conv)


@pytest.mark.parametrize(("role", "direction"), ROLES)
@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("level1/step02", "level1/step02/invconv/bias"),
        ("level2/step01", "level2/step01/coupling/conv3/bias"),
        ("level1/split", "level1/split/conv/bias"),
        ("prior", "prior/mean"),
    ],
)
def test_a_bias_off_by_0_02(case, step, name, role, direction):
    assert_named(case().change(role, shifted(name, 0.02)).measure(), step, direction, "weights")


@pytest.mark.parametrize(("role", "direction"), ROLES)
def test_the_weights_of_a_step_rounded_to_11_bits(case, role, direction):
    report = case().change(role, rounded_to_11_bits("level2/step02/")).measure()
    assert_named(report, "level2/step02", direction, "weights", "11 bits")
    assert {fault.weight for fault in report.weights} == {"invconv", "conv1", "conv2", "conv3"}


def test_without_golden_vectors_the_step_is_named_and_the_graph_is_not(case):
    report = case().change("encoder", scaled("level1/step02/coupling/conv2/weight", 1.02)).measure(golden=None)
    assert_named(report, "level1/step02", None, "weights", "encoder or decoder")


def test_a_fault_in_each_graph(case):
    model = case().change("encoder", scaled("level2/step02/coupling/conv2/weight", 1.02))
    report = model.change("decoder", scaled("level1/step02/coupling/conv1/weight", 1.02)).measure()
    found = [(jump.step, jump.direction) for jump in report.backends[0].jumps]
    assert found == [("level1/step02", "decode"), ("level2/step02", "encode")]


def test_the_same_fault_in_both_graphs_is_told_by_the_golden_vectors(case):
    name = "level2/step02/coupling/conv2/weight"
    model = case().change("encoder", scaled(name, 1.02)).change("decoder", scaled(name, 1.02))
    assert_named(model.measure(), "level2", None, "reference", "z2", "--ckpt")
    report = model.measure(trained=dict(model.folded.named_arrays()))
    found = [(jump.step, jump.direction) for jump in report.backends[0].jumps[:2]]
    assert found == [("level2/step02", "encode"), ("level2/step02", "decode")]


@pytest.mark.parametrize(("role", "direction"), ROLES)
def test_class_labels_exchanged_in_one_graph(case, role, direction):
    def change(name, array):
        return array[[1, 0, 2]] if name in ("prior/mean", "prior/scale", "prior/inverse_scale") else None

    report = case(num_classes=3).change(role, change).measure()
    assert_named(report, "prior", direction, "weights", "class labels are exchanged")


def test_class_labels_exchanged_in_the_images(case):
    model = case(num_classes=3)
    golden = replace(model.golden, y=np.array([1, 0, 2, 1]))
    report = replace(model, y=golden.y).measure(golden=golden)
    assert_named(report, "prior", None, "reference", "class labels are exchanged")

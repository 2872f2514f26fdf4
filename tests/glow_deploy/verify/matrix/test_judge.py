"""What is judged on images that bring no yardstick of their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from glow_deploy.numerics.gates import rules_for
from glow_deploy.verify import VerifySettings, verify
from glow_deploy.verify.matrix.judge import exactness_expected, standard_for, without_yardstick


@pytest.fixture(scope="module")
def measured(sound, tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "images.npz"
    pixels = sound.pixels(12, seed=5).transpose(0, 2, 3, 1)
    np.savez(path, images=pixels)
    settings = VerifySettings(backends=("onnxruntime-cpu",), random_draws=0, data=str(path), largest_batch=2)
    return verify(sound.bundle, settings=settings)


@pytest.fixture
def judge(measured):
    golden, data = measured.cells
    images = measured.image_sets[1]

    def run(cell=data, *, golden=golden, images=images):
        return without_yardstick(cell, golden, images=images, rules=rules_for("fp32"), n_bits=8)

    return run


def missed(cell, quantity="x -> z -> x", statistic="rms", value=1e-5):
    gates = [
        replace(gate, passed=False, value=value) if (gate.quantity, gate.statistic) == (quantity, statistic) else gate
        for gate in cell.gates
    ]
    assert gates != list(cell.gates)
    return replace(cell, gates=tuple(gates))


def test_a_pass_stays_a_pass(measured, judge):
    assert judge() == measured.cells[1]
    assert measured.cells[1].verdict == "pass"


@pytest.mark.parametrize("statistic", ["rms", "p99.9"])
@pytest.mark.parametrize("quantity", ["x -> z -> x", "z1 -> x -> z1"])
def test_images_that_all_come_back_are_not_judged(measured, judge, quantity, statistic):
    cell = judge(missed(measured.cells[1], quantity, statistic))
    assert (cell.verdict, cell.passed) == ("not judged", True)
    assert any(not gate.passed for gate in cell.gates)  # and are shown all the same


def test_lost_pixels_fail(measured, judge):
    cell = missed(measured.cells[1])
    lost = replace(cell, exactness=replace(cell.exactness, images_exact=11))
    assert judge(lost).verdict == "fail"


def test_what_no_model_may_do_fails(measured, judge):
    cell = measured.cells[1]
    assert judge(missed(cell, statistic="non-finite", value=1.0)).verdict == "fail"
    assert judge(missed(cell, value=1e-3)).verdict == "fail"  # half a bin is 2e-3, and its rms limit a third of that


def test_a_pair_that_fails_on_the_golden_images_fails(measured, judge):
    golden = missed(measured.cells[0])
    assert judge(missed(measured.cells[1]), golden=golden).verdict == "fail"
    assert judge(missed(measured.cells[1]), golden=None).verdict == "fail"


def test_with_a_yardstick_of_their_own_they_are_judged(measured, judge):
    paired = replace(measured.image_sets[1], paired=True)
    assert judge(missed(measured.cells[1]), images=paired).verdict == "fail"
    assert judge(missed(measured.cells[0]), images=measured.image_sets[0]).verdict == "fail"


@pytest.mark.parametrize(
    ("encode", "decode", "crossed"),
    [
        ("simulated", "tensorrt", False),
        ("triton=h:1", "triton=h:1", False),
        ("simulated", "triton=h:1", False),
        ("kserve=h:1", "triton=h:1", False),
        ("outputs", "simulated", False),
        ("outputs", "onnxruntime-cpu", True),
        ("triton=h:1", "onnxruntime-cpu", True),
        ("openvino-cpu", "openvino-cpu", False),
        ("openvino-cpu", "simulated", True),
        ("my-runtime", "my-runtime", False),
        ("my-runtime", "triton=h:1", True),
    ],
)
def test_in_16_bit_servers_and_saved_outputs_are_held_to_what_the_graphs_promise(measured, encode, decode, crossed):
    images = measured.image_sets[0]
    images = replace(images, own=images.yardstick, tolerance=0.4)
    standard = standard_for(images, encode, decode, rules=rules_for("mixed"))
    assert (standard.narrow, standard.crossed) == (True, crossed)
    assert exactness_expected(images, standard, n_bits=8) == (None if crossed else 0.0)

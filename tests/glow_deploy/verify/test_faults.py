"""Negative controls: faults planted into the weights of an exported bundle. Each must fail, at the level it is in."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

BOTH = ("encoder", "decoder")
ONE_BY_ONE = [f"level{level}/step{step:02}/invconv/weight" for level in (1, 2) for step in (1, 2, 3)]


def level_of(name):
    return int(name[len("level")])


def only(name, change):
    """A fault in one named weight."""
    return lambda found, array, role: change(array) if found == name else None


def largest_entry(factor):
    def change(weight):
        weight[np.unravel_index(np.abs(weight).argmax(), weight.shape)] *= factor
        return weight

    return change


def weakest_row(factor):
    """The row with the smallest weights: the hardest one to notice."""

    def change(weight):
        weight[np.abs(weight).reshape(len(weight), -1).sum(axis=1).argmin()] *= factor
        return weight

    return change


def swapped_rows(weight):
    weight[[0, 1]] = weight[[1, 0]]
    return weight


def rounded_to_10_bits(name, weight, role):
    if weight.dtype != np.float32:
        return None
    bits = weight.view(np.uint32)
    return ((bits + np.uint32(1 << 12)) & np.uint32(0xFFFFE000)).view(np.float32)


def assert_fails(report, *, level, verdict="round_trip"):
    assert not report.sound
    assert getattr(report.verdicts, verdict) == "unsound"
    # The weights alone tell, and come first; but the images have to show it as well: a plan's weights are not seen.
    measured = [failure for failure in report.failures if failure.verdict != "weights"]
    assert list(report.failures) == sorted(report.failures, key=lambda failure: failure.verdict != "weights")
    assert measured
    assert level is None or level in {failure.level for failure in measured}, [str(f) for f in measured]
    assert all("onnxruntime-cpu" in failure.where for failure in measured)


@pytest.mark.parametrize(
    ("name", "roles"),
    [
        pytest.param(name, roles, id=f"{name}-{'-'.join(roles)}", marks=[pytest.mark.slow] * (k == n % 3))
        for n, name in enumerate(ONE_BY_ONE)
        for k, roles in enumerate([("encoder",), ("decoder",), BOTH])
    ],
)
def test_the_largest_entry_of_a_1x1_off_by_1_percent(spoil, quick, name, roles):
    report = quick(spoil(only(name, largest_entry(1.01)), roles=roles))
    assert_fails(report, level=level_of(name))


@pytest.mark.parametrize("roles", [("encoder",), ("decoder",), BOTH], ids="-".join)
@pytest.mark.parametrize("name", ONE_BY_ONE[::2])
def test_a_row_of_a_1x1_off_by_half_a_percent(spoil, quick, name, roles):
    assert_fails(quick(spoil(only(name, weakest_row(1.005)), roles=roles)), level=level_of(name))


@pytest.mark.parametrize("roles", [("encoder",), ("decoder",), BOTH], ids="-".join)
@pytest.mark.parametrize("name", ONE_BY_ONE[::2])
def test_two_rows_of_a_1x1_swapped(spoil, quick, name, roles):
    assert_fails(quick(spoil(only(name, swapped_rows), roles=roles)), level=level_of(name))


@pytest.mark.parametrize("roles", [("encoder",), ("decoder",), BOTH], ids="-".join)
@pytest.mark.parametrize(
    "name",
    [
        "level1/step01/coupling/conv1/weight",
        "level1/step03/coupling/conv2/weight",
        "level2/step02/coupling/conv3/weight",
    ],
)
def test_a_conditioner_conv_off_by_2_percent(spoil, quick, name, roles):
    assert_fails(quick(spoil(only(name, lambda weight: weight * 1.02), roles=roles)), level=level_of(name))


@pytest.mark.parametrize("roles", [("encoder",), ("decoder",), BOTH], ids="-".join)
@pytest.mark.parametrize(
    "name", ["level1/step02/invconv/bias", "level2/step01/coupling/conv3/bias", "level1/split/conv/bias"]
)
def test_one_bias_off_by_0_02(spoil, quick, name, roles):
    def change(bias):
        bias.reshape(-1)[0] += 0.02
        return bias

    assert_fails(quick(spoil(only(name, change), roles=roles)), level=level_of(name))


@pytest.mark.parametrize("roles", [("encoder",), ("decoder",), BOTH], ids="-".join)
def test_all_weights_rounded_to_10_mantissa_bits(spoil, quick, roles):
    report = quick(spoil(rounded_to_10_bits, roles=roles))
    assert_fails(report, level=1)


def test_a_wrong_constant_in_log_prob_is_unsound_likelihood_alone(spoil, quick, tamper, sound):
    tamper("encoder", after=lambda outputs, feeds: {**outputs, "log_prob": outputs["log_prob"] + np.float32(0.1)})
    report = quick(sound.bundle)
    assert_fails(report, level=None, verdict="likelihood")
    assert report.verdicts.round_trip == "sound"
    assert "log-determinant" in report.failures[0].cause


def test_a_wrong_decoder_gives_other_pictures_and_leaves_the_likelihood_alone(spoil, quick):
    report = quick(spoil(only("level1/step02/invconv/weight", largest_entry(1.01)), roles=("decoder",)))
    assert_fails(report, level=1, verdict="samples")
    assert report.verdicts.round_trip == "unsound"
    assert report.verdicts.likelihood == "sound"


def test_a_wrong_encoder_leaves_the_samples_alone(spoil, quick):
    report = quick(spoil(only("level1/step02/invconv/weight", largest_entry(1.01)), roles=("encoder",)))
    assert_fails(report, level=1, verdict="likelihood")
    assert report.verdicts.round_trip == "unsound"
    assert report.verdicts.samples == "sound"


@pytest.mark.parametrize("role", BOTH)
def test_an_encoder_of_one_checkpoint_with_the_decoder_of_another(exported, sound, quick, tmp_path, role):
    other = exported(seed=21)
    mixed = tmp_path / "mixed"
    shutil.copytree(sound.bundle, mixed)
    shutil.copy(other.bundle / f"{role}.onnx", mixed)
    resign(mixed)
    assert_fails(quick(mixed), level=1)


def test_the_wrong_checkpoint_is_named(exported, sound, quick):
    report = quick(sound.bundle, ckpt=exported(seed=21).ckpt, backends=("pytorch-fp64", "onnxruntime-cpu"))
    assert report.verdicts.round_trip == report.verdicts.likelihood == "unsound"
    cause = next(f.cause for f in report.failures if f.where.startswith("encode pytorch-fp64 against"))
    assert "--ckpt" in cause


def test_the_wrong_checkpoint_as_reference_alone_excuses_nothing(exported, sound, quick, npz):
    report = quick(sound.bundle, ckpt=exported(seed=21).ckpt, data=npz(sound, 10))
    assert {failure.where.split(" against")[0] for failure in report.failures} >= {"encode onnxruntime-cpu"}
    assert report.image_sets[1].yardstick.z[0].rms < 1e-4


def test_a_model_that_is_not_finite_in_float32_excuses_no_error(sound, quick, tmp_path):
    import json

    bundle = tmp_path / "forced"
    shutil.copytree(sound.bundle, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["numerics"]["yardstick"] = None
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    report = quick(bundle)
    assert not report.sound
    report.to_json()


@pytest.mark.parametrize("roles", [("encoder",), ("decoder",), BOTH], ids="-".join)
def test_a_fault_is_found_with_the_checkpoint_on_fresh_images_too(sound, spoil, quick, npz, roles):
    name = "level2/step02/invconv/weight"
    bundle = spoil(only(name, largest_entry(1.01)), roles=roles)
    report = quick(bundle, ckpt=sound.ckpt, data=npz(sound, 20))
    assert_fails(report, level=2)
    assert any("data images" in failure.where for failure in report.failures)


def resign(bundle):
    import hashlib
    import json

    manifest = json.loads((bundle / "manifest.json").read_text())
    for name in ("encoder.onnx", "decoder.onnx"):
        manifest["files"][name] = hashlib.sha256((bundle / name).read_bytes()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(manifest))

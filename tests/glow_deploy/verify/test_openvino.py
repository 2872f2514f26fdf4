"""OpenVINO in every section of a verification, and its default found out."""

from __future__ import annotations

import pytest

from glow_deploy.bench import bench
from glow_deploy.verify import VerifySettings, verify
from glow_deploy.verify.backends.backend import BACKENDS, KNOWN

openvino = pytest.importorskip("openvino", reason="these tests run OpenVINO")

BOTH = ("onnxruntime-cpu", "openvino-cpu")


@pytest.fixture(scope="module")
def sound(exported):
    return exported()


def need_bfloat16():
    capable = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if "BF16" not in capable:
        pytest.skip("this CPU has no bfloat16 instructions, so OpenVINO's default is float32 here")


def test_it_takes_part_where_it_is_named_and_only_there(sound):
    assert [name for name in KNOWN if name.startswith("openvino")]
    assert not [name for name in BACKENDS if name.startswith("openvino")]
    report = verify(sound.bundle, settings=VerifySettings(random_draws=0, device="cpu"))
    assert not [row for row in report.backends if row.name.startswith("openvino")]


@pytest.mark.slow
def test_every_section_measures_it_and_calls_a_sound_model_sound(sound):
    settings = VerifySettings(backends=BOTH, ckpt=sound.ckpt, random_draws=4, steps=True, stress=True, threads=1)
    report = verify(sound.bundle, settings=settings)
    assert report.sound, [str(failure) for failure in report.failures]
    assert {(cell.encode, cell.decode) for cell in report.cells} == {(a, b) for a in BOTH for b in BOTH}
    assert [row.backend for row in report.references if row.images == "golden"] == list(BOTH)
    row = next(row for row in report.backends if row.name == "openvino-cpu")
    assert row.canary.text == "float32 (measured)"
    assert row.encoder["provider"] == "OpenVINO CPU at f32, all convolutions in f32"
    shown = {steps.backend: steps for steps in report.steps.backends if not steps.reason}
    assert set(shown) == set(BOTH)
    (runs,) = [runs for runs in report.stress.determinism if runs.backend == "openvino-cpu"]
    assert "openvino-cpu" in report.to_json()
    assert runs


def test_at_its_default_the_canary_says_bfloat16_and_the_model_is_unsound(sound):
    need_bfloat16()
    report = verify(
        sound.bundle, settings=VerifySettings(backends=("onnxruntime-cpu", "openvino-cpu-default"), random_draws=0)
    )
    assert not report.sound
    row = next(row for row in report.backends if row.name == "openvino-cpu-default")
    assert row.canary.detected == "bf16"
    failed = [cell for cell in report.cells if not cell.passed]
    assert {(cell.encode, cell.decode) for cell in failed} == {
        ("onnxruntime-cpu", "openvino-cpu-default"),
        ("openvino-cpu-default", "onnxruntime-cpu"),
        ("openvino-cpu-default", "openvino-cpu-default"),
    }
    assert {failure.cause for failure in report.failures} == {
        "openvino-cpu-default computes float32 convolutions in bfloat16"
    }
    assert any("which is what OpenVINO does when it is not asked for f32" in note for note in report.notes)
    # The same pair held to float32 is sound: it is the number format, not the runtime.
    assert verify(sound.bundle, settings=VerifySettings(backends=BOTH, random_draws=0)).sound


@pytest.mark.parametrize("precision", ["mixed", "auto", "bf16-mixed"])
def test_graphs_in_16_bit_are_sound_in_it_and_it_is_told_what_became_of_them(exported, tmp_path, precision):
    from glow_deploy.export import ExportSettings, export

    if precision == "bf16-mixed":
        need_bfloat16()
    model = exported(carry=False)
    bundle = export(model.ckpt, out=tmp_path / "b", settings=ExportSettings(precision=precision, golden=32)).path
    report = verify(bundle, settings=VerifySettings(backends=("openvino-cpu",), random_draws=0))
    assert report.sound, [str(failure) for failure in report.failures]
    dropped = any("16-bit convolutions in float32, as OpenVINO itself tells" in note for note in report.notes)
    assert dropped == (precision != "bf16-mixed")


def test_bench_times_it_where_it_is_named(sound):
    report = bench(sound.bundle, backends=("openvino-cpu",), batches=(1, 3), iterations=2, warmup_seconds=0, threads=1)
    assert {row.backend for row in report.timings} == {"openvino-cpu"}
    assert {row.batch for row in report.timings} == {1, 3}


def test_a_device_that_is_not_there_is_one_line_where_it_is_named(sound):
    from glow_deploy.errors import MissingDependencyError

    if any(name.startswith("NPU") for name in openvino.Core().available_devices):
        pytest.skip("there is an NPU here")
    with pytest.raises(MissingDependencyError, match="openvino-npu cannot run here: OpenVINO reports no NPU"):
        verify(sound.bundle, settings=VerifySettings(backends=("openvino-npu",)))

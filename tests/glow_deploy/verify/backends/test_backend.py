from __future__ import annotations

import shutil
from contextlib import ExitStack

import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.engines import open as opening
from glow_deploy.engines.device import count_gpus
from glow_deploy.errors import (
    BundleError,
    BundleReplacedError,
    EngineError,
    GlowDeployError,
    MissingDependencyError,
    UsageError,
)
from glow_deploy.verify.backends.backend import BACKENDS, open_backends
from glow_deploy.verify.settings import VerifySettings

no_gpu = pytest.mark.skipif(count_gpus() > 0, reason="this machine has a GPU, so the backend may be usable")


def opened(bundle, **options):
    with ExitStack() as stack:
        return open_backends(Bundle.open(bundle), stack=stack, **options)


def test_every_known_backend_is_listed_with_a_reason_if_absent(sound):
    found = opened(sound.bundle)
    assert [report.name for report in found.reports] == list(BACKENDS)
    assert all(report.used or report.reason for report in found.reports)
    reasons = {report.name: report.reason for report in found.reports}
    assert "--ckpt" in reasons["pytorch-fp64"]
    assert "glow-deploy compile" in reasons["tensorrt-rtx"]
    assert "--flavor rtx" in reasons["tensorrt-rtx"]
    assert "onnxruntime-cpu" in {backend.name for backend in found.matrix}


def test_the_checkpoint_adds_the_pytorch_backends(sound):
    found = opened(sound.bundle, ckpt=sound.ckpt)
    assert {"pytorch-fp64", "pytorch-fp32", "onnxruntime-cpu"} <= {backend.name for backend in found.matrix}
    details = {backend.name: backend.encoder.details for backend in found.matrix}
    assert details["pytorch-fp64"].precision == "fp64"
    assert details["onnxruntime-cpu"].provider == "CPUExecutionProvider"


def test_reference_and_yardstick_stay_out_of_a_matrix_that_does_not_name_them(sound):
    found = opened(sound.bundle, ckpt=sound.ckpt, wanted=["onnxruntime-cpu"])
    assert [backend.name for backend in found.matrix] == ["onnxruntime-cpu"]
    assert found.reference is not None
    assert found.yardstick is not None
    assert not next(report for report in found.reports if report.name == "pytorch-fp64").used


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("pytorch-fp64", UsageError),
        pytest.param("onnxruntime-cuda", MissingDependencyError, marks=no_gpu),
        ("tensorrt", MissingDependencyError),
        ("tensorrt-rtx", MissingDependencyError),
    ],
)
def test_one_asked_for_and_absent_is_an_error(sound, name, kind):
    with pytest.raises(kind) as caught:
        opened(sound.bundle, wanted=["onnxruntime-cpu", name])
    assert caught.value.exit_code == 2


@no_gpu
def test_nothing_falls_back_to_the_cpu(sound):
    with pytest.raises(GlowDeployError):
        opened(sound.bundle, wanted=["onnxruntime-cuda"], device="cuda")


def test_the_cpu_as_device_leaves_gpu_backends_out(sound):
    reasons = {report.name: report.reason for report in opened(sound.bundle, device="cpu").reports}
    assert "CPU" in reasons["onnxruntime-cuda"]


@pytest.mark.parametrize("wanted", [["onnx"], [], ["onnxruntime-cpu", "onnxruntime-cpu"]])
def test_names_that_mean_nothing_are_refused(sound, wanted):
    with pytest.raises(UsageError):
        opened(sound.bundle, wanted=wanted)
    with pytest.raises(UsageError):
        VerifySettings(backends=tuple(wanted))


def test_a_changed_graph_is_not_run(sound, tmp_path):
    shutil.copytree(sound.bundle, tmp_path / "b")
    with (tmp_path / "b" / "decoder.onnx").open("ab") as file:
        file.write(b"\0")
    with pytest.raises(BundleError, match="sha256"):
        opened(tmp_path / "b")


@pytest.mark.parametrize("replaced", [True, False])
def test_both_graphs_are_of_the_export_whose_manifest_was_read(sound, tmp_path, monkeypatch, replaced):
    """Another export comes between the look at the checksums and the opening; without it all goes well."""
    folder = tmp_path / "b"
    shutil.copytree(sound.bundle, folder)
    real = opening.open_engine

    def late(path, **options):
        if replaced:
            shutil.copytree(sound.bundle, tmp_path / "c", dirs_exist_ok=True)
            (tmp_path / "c" / "manifest.json").touch()  # the copy is as old as the first one
            (tmp_path / "c" / "manifest.json").replace(folder / "manifest.json")
        return real(path, **options)

    monkeypatch.setattr(opening, "open_engine", late)
    if replaced:
        with pytest.raises(BundleReplacedError):
            opened(folder, wanted=("onnxruntime-cpu",))
    else:
        assert [backend.name for backend in opened(folder, wanted=("onnxruntime-cpu",)).matrix] == ["onnxruntime-cpu"]


def test_a_plan_that_cannot_be_opened_is_never_silently_left_out(sound, tmp_path):
    shutil.copytree(sound.bundle, tmp_path / "b")
    for role in ("encoder", "decoder"):
        (tmp_path / "b" / f"{role}.rtx.trt").write_bytes(b"vtrt" + bytes(100))
    try:
        reasons = {report.name: report.reason for report in opened(tmp_path / "b").reports}
    except (BundleError, EngineError):
        return
    assert reasons["tensorrt-rtx"]


def test_a_checkpoint_of_another_shape_is_refused(sound, exported):
    other = exported(levels=1, seed=2)
    with pytest.raises(UsageError, match=r"is not the model that .* was exported from \(levels 1, not 2\)"):
        opened(sound.bundle, ckpt=other.ckpt)


def test_a_checkpoint_that_is_none_is_bad_input(sound, tmp_path):
    (tmp_path / "x.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(Exception, match=r"x\.pt") as caught:
        opened(sound.bundle, ckpt=tmp_path / "x.pt")
    assert caught.value.exit_code == 2

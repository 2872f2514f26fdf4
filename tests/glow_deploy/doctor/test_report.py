from __future__ import annotations

from pathlib import Path

import pytest

from glow_deploy.doctor import report as doctor
from glow_deploy.doctor.providers import Provider
from glow_deploy.doctor.report import CudaLink, Gpu, examine, find_gpus


def packages(runtime: str) -> dict[str, str | None]:
    """Everything installed, of the two builds of ONNX Runtime this one."""
    return dict.fromkeys(doctor._PACKAGES, "1.0") | {"onnxruntime": None, "onnxruntime-gpu": None} | {runtime: "1.0"}


def advice(**changes) -> str:
    facts = {
        "packages": packages("onnxruntime-gpu"),
        "cuda": (),
        "gpus": (),
        "providers": (Provider(name="CPUExecutionProvider", usable=True),),
        "environment": {},
        "agree": True,
    } | changes
    return "\n".join(doctor._advice(**facts))


def gpu(**changes) -> Gpu:
    return Gpu(
        **{"index": 0, "name": "RTX 4090", "compute_capability": "8.9", "memory_mib": 24000, "driver": "580.1"}
        | changes
    )


CUDA = Provider(name="CUDAExecutionProvider", usable=True)
CPU = Provider(name="CPUExecutionProvider", usable=True)


def test_nothing_to_change_gives_no_advice():
    assert advice() == ""
    assert advice(gpus=(gpu(),), providers=(CPU, CUDA)) == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"packages": dict.fromkeys(doctor._PACKAGES, None)}, "glow-deploy[train]"),
        ({"packages": dict.fromkeys(doctor._PACKAGES, "1.0")}, "overwrite each other"),
        ({"agree": False, "cuda": (CudaLink(package="torch", major=12, evidence=""),)}, "torch 12"),
        ({"providers": ()}, "pip install 'glow-deploy[cpu]'"),
        ({"providers": (), "gpus": (gpu(),)}, "pip install 'glow-deploy[gpu]'"),
        ({"providers": (), "packages": packages("onnxruntime")}, "pip uninstall onnxruntime, then pip install"),
        ({"gpus": (gpu(),), "packages": packages("onnxruntime-gpu")}, "onnxruntime-gpu[cuda,cudnn]"),
        (
            {"gpus": (gpu(),), "packages": packages("onnxruntime")},
            "pip uninstall onnxruntime, then pip install 'glow-deploy[gpu]'",
        ),
        ({"gpus": (gpu(compute_capability="9.0"),), "providers": (CPU, CUDA)}, "--flavor tensorrt"),
        (
            {
                "gpus": (gpu(driver="550.54"),),
                "providers": (CPU, CUDA),
                "cuda": (CudaLink(package="onnxruntime", major=13, evidence=""),),
            },
            "Driver 550.54",
        ),
        ({"environment": {"OPENBLAS_CORETYPE": "Haswell"}}, "OPENBLAS_CORETYPE"),
    ],
)
def test_advice(changes, words):
    assert words in advice(**changes)


def test_cuda_majors_are_read_from_the_libraries(tmp_path, monkeypatch):
    folder = tmp_path / "onnxruntime"
    (folder / "capi").mkdir(parents=True)
    (folder / "capi" / "libonnxruntime_providers_cuda.so").touch()
    monkeypatch.setattr(doctor, "_package_folder", lambda name: folder if name == "onnxruntime" else None)
    monkeypatch.setattr(doctor, "needed_libraries", lambda path: ("libcublas.so.13", "libcudart.so.12"))
    monkeypatch.setattr(doctor, "_version", lambda name: None)
    (link,) = doctor._cuda_links({})
    assert (link.package, link.major) == ("onnxruntime", 12)
    assert "libcudart.so.12" in link.evidence


def test_gpus_come_from_nvidia_smi(tmp_path, monkeypatch):
    tool = tmp_path / "nvidia-smi"
    tool.write_text('#!/bin/sh\necho "0, NVIDIA GeForce RTX 4090, 8.9, 24564, 580.65.06"\n')
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    ((found,), _) = find_gpus()
    assert found == Gpu(
        index=0, name="NVIDIA GeForce RTX 4090", compute_capability="8.9", memory_mib=24564, driver="580.65.06"
    )
    tool.write_text("#!/bin/sh\necho NVIDIA-SMI has failed; exit 9\n")
    assert find_gpus() == ((), "nvidia-smi failed: NVIDIA-SMI has failed")


def test_this_machine_without_importing_torch(monkeypatch):
    import sys

    for name in ("torch", "tensorrt_rtx"):
        monkeypatch.setitem(sys.modules, name, None)
    report = examine()
    assert report.packages["numpy"]
    assert Path(report.executable).exists()
    assert report.cores >= 1

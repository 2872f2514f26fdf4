"""What doctor says of OpenVINO's devices, and where there are none."""

import importlib.util

import pytest

from glow_deploy.doctor.openvino import examine_openvino, openvino_backends
from glow_deploy.errors import EngineError


def test_the_devices_are_those_reported():
    openvino = pytest.importorskip("openvino", reason="it lists OpenVINO's devices")
    devices, detail = examine_openvino()
    assert list(devices) == list(openvino.Core().available_devices)
    assert detail == f"{len(devices)} reported by OpenVINO"


def test_without_the_package_there_are_none(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert examine_openvino() == ({}, "openvino is not installed")


def test_a_package_that_cannot_be_used_is_told(monkeypatch):
    pytest.importorskip("openvino", reason="its failure is staged")
    from glow_deploy.engines import openvino

    def fail():
        raise EngineError("OpenVINO cannot list its devices: broken")

    monkeypatch.setattr(openvino, "openvino_devices", fail)
    assert examine_openvino() == ({}, "OpenVINO cannot list its devices: broken")


@pytest.mark.parametrize(
    ("devices", "backends"),
    [
        ([], []),
        (["CPU"], ["openvino-cpu", "openvino-cpu-default"]),
        (["CPU", "GPU.0", "GPU.1"], ["openvino-cpu", "openvino-gpu", "openvino-cpu-default"]),
        (["NPU"], ["openvino-npu"]),
    ],
)
def test_backends_are_named_for_devices_that_are_there(devices, backends):
    assert openvino_backends(dict.fromkeys(devices, "a device")) == backends

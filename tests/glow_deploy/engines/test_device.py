from __future__ import annotations

import ctypes

import pytest

from glow_deploy.engines import device
from glow_deploy.engines.device import Device, count_gpus, parse_device
from glow_deploy.errors import UsageError


@pytest.mark.parametrize(
    ("text", "expected", "spelt"),
    [
        ("auto", Device("auto"), "auto"),
        (" CPU ", Device("cpu"), "cpu"),
        ("cuda", Device("cuda", 0), "cuda:0"),
        ("cuda:12", Device("cuda", 12), "cuda:12"),
        ("cuda:007", Device("cuda", 7), "cuda:7"),
    ],
)
def test_devices_are_read_and_spelt(text, expected, spelt):
    assert parse_device(text) == expected
    assert str(parse_device(text)) == spelt
    assert parse_device(str(expected)) == expected


@pytest.mark.parametrize(
    "text", ["", "gpu", "cuda:", "cuda:-1", "cuda:1000", "cuda:x", "cpu:0", "auto:", "cuda:\u0663"]
)
def test_other_words_are_refused(text):
    with pytest.raises(UsageError, match=r"unknown device .*use auto, cpu, cuda or cuda:N"):
        parse_device(text)


class Driver:
    """A stand-in for the driver's library."""

    def __init__(self, gpus, *, status=0):
        self.gpus, self.status = gpus, status

    def cuInit(self, flags):  # noqa: N802
        return self.status

    def cuDeviceGetCount(self, count):  # noqa: N802
        count._obj.value = self.gpus
        return 0


def test_the_gpus_are_those_that_the_driver_shows(monkeypatch):
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: Driver(3))
    assert count_gpus() == 3
    monkeypatch.setattr(device.ctypes, "CDLL", lambda name: Driver(3, status=100))
    assert count_gpus() == 0


def test_without_a_driver_there_are_none(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert count_gpus() == 0

from __future__ import annotations

import gc
import importlib
from types import SimpleNamespace

import pytest

from glow_deploy.engines.trt_module import collection_paused, import_tensorrt, keep_log
from glow_deploy.errors import MissingDependencyError


@pytest.mark.parametrize("error", [ImportError("no such\n module"), OSError("libnvinfer.so"), RuntimeError()])
@pytest.mark.parametrize(("flavor", "index"), [("tensorrt", True), ("rtx", False)])
def test_a_module_that_does_not_load_is_one_line_with_what_to_install(flavor, index, error, monkeypatch):
    def refuse(name):
        raise error

    monkeypatch.setattr(importlib, "import_module", refuse)
    with pytest.raises(
        MissingDependencyError, match=rf"cannot be imported \(.+\): pip install '.*\[{flavor}\]'"
    ) as caught:
        import_tensorrt(flavor)
    assert "\n" not in str(caught.value)
    assert ("pypi.nvidia.com" in str(caught.value)) == index


@pytest.mark.parametrize("running", [True, False])
def test_the_collector_is_as_it_was_afterwards_whatever_happens(running):
    seen = []

    def fail():
        with collection_paused():
            seen.append(gc.isenabled())
            raise KeyError

    before = gc.isenabled()
    try:
        (gc.enable if running else gc.disable)()
        with pytest.raises(KeyError):
            fail()
        assert seen == [False]
        assert gc.isenabled() == running
    finally:
        (gc.enable if before else gc.disable)()


class Logger:
    """A stand-in for TensorRT's own."""

    Severity = SimpleNamespace(INTERNAL_ERROR=0, ERROR=1, WARNING=2, INFO=3)

    def __init__(self):
        self.begun = True


def test_warnings_and_errors_are_kept_and_the_rest_is_not():
    log = keep_log(SimpleNamespace(ILogger=Logger))
    assert log.begun
    for severity in range(4):
        log.log(severity, f"message\n  {severity}")
    assert list(log.errors) == ["message 0", "message 1"]
    assert list(log.messages) == ["message 0", "message 1", "message 2"]
    for number in range(100):
        log.log(1, str(number))
    assert list(log.errors) == [str(number) for number in range(50, 100)]

from __future__ import annotations

import inspect
import re
import sys

import pytest

from glow_deploy.engines import cuda as cuda_module
from glow_deploy.engines.cuda import Cuda
from glow_deploy.errors import EngineError, MissingDependencyError

runtime = pytest.importorskip("cuda.bindings.runtime")


def _names(source: str) -> set[str]:
    return set(re.findall(r"\bcuda[A-Z]\w+", source))


def test_every_cuda_name_exists_in_the_installed_bindings():
    names = _names(inspect.getsource(cuda_module))
    assert {"cudaMalloc", "cudaMemcpyAsync", "cudaGraphLaunch"} <= names
    known = set(dir(runtime)) | set(dir(runtime.cudaMemcpyKind)) | set(dir(runtime.cudaStreamCaptureMode))
    known |= set(dir(runtime.cudaError_t))
    assert names - known == set()
    assert _names("cudaMallocEverything(") - known  # the check can fail


def test_no_driver_is_one_line(monkeypatch):
    monkeypatch.setattr(runtime, "cudaGetDeviceCount", lambda: (runtime.cudaError_t.cudaErrorInsufficientDriver, None))
    monkeypatch.setattr(runtime, "cudaDriverGetVersion", lambda: (runtime.cudaError_t.cudaSuccess, 0))
    with pytest.raises(MissingDependencyError, match="no NVIDIA driver is installed") as caught:
        Cuda()
    assert "\n" not in str(caught.value)


def test_an_old_driver_is_named_as_such(monkeypatch):
    monkeypatch.setattr(runtime, "cudaGetDeviceCount", lambda: (runtime.cudaError_t.cudaErrorInsufficientDriver, None))
    monkeypatch.setattr(runtime, "cudaDriverGetVersion", lambda: (runtime.cudaError_t.cudaSuccess, 11080))
    with pytest.raises(MissingDependencyError, match="driver version is insufficient"):
        Cuda()


def test_a_gpu_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr(runtime, "cudaGetDeviceCount", lambda: (runtime.cudaError_t.cudaSuccess, 2))
    with pytest.raises(MissingDependencyError, match="no GPU number 2: this machine shows 2"):
        Cuda(2)


def test_a_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cuda.bindings", None)
    with pytest.raises(MissingDependencyError, match="glow-deploy\\[rtx\\]"):
        Cuda()


def test_every_return_code_is_checked(monkeypatch):
    cuda = Cuda.__new__(Cuda)
    cuda._api = runtime
    failure = (runtime.cudaError_t.cudaErrorMemoryAllocation, None)
    monkeypatch.setattr(runtime, "cudaMalloc", lambda size: failure)
    with pytest.raises(EngineError, match=r"cudaMalloc failed: out of memory\. Run smaller batches"):
        cuda.allocate(1 << 40)

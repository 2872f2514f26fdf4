from __future__ import annotations

from types import SimpleNamespace

from glow_deploy.canary import make_canary
from glow_deploy.canary.detect import detect
from glow_deploy.canary.report import CanaryUnavailable
from glow_deploy.verify.backends.arithmetic import arithmetic_notes


def backend(name="tensorrt", *, canary=None, tf32=False, used=True):
    return SimpleNamespace(name=name, used=used, canary=canary, integers=None, decoder={"tf32": tf32})


def convolve(dtype):
    """The canary's convolutions in torch, operands of `dtype`."""
    import torch

    weights = [torch.from_numpy(weight).to(dtype) for weight in make_canary().weights.values()]

    def run(x):
        parts = [torch.nn.functional.conv2d(torch.from_numpy(x).to(dtype), w, padding="same") for w in weights]
        return torch.cat(parts, dim=1).float().numpy()

    return run


def test_only_a_backend_that_does_not_compute_in_float32_is_named():
    import torch

    wide, narrow = detect(convolve(torch.float32)), detect(convolve(torch.bfloat16))
    assert list(arithmetic_notes((backend(canary=wide), backend("x")), precision="fp32")) == []
    (off,) = arithmetic_notes((backend(canary=narrow),), precision="fp32")
    assert off.startswith("tensorrt: its convolutions compute in ")
    assert off.endswith("TF32 is turned off")
    (allowed,) = arithmetic_notes((backend(canary=narrow, tf32=True),), precision="fp32")
    assert allowed.endswith("TF32 is allowed")


def test_what_was_not_measured_is_said_with_its_reason():
    found = list(arithmetic_notes((backend(canary=CanaryUnavailable(reason="no GPU is here")),), precision="fp32"))
    assert found == ["tensorrt: what it computes in was not measured: no GPU is here"]


def test_a_cpu_that_computes_wider_than_it_is_asked_to_is_told():
    cpu = backend("onnxruntime-cpu")
    (note,) = arithmetic_notes((cpu,), precision="mixed")
    assert "in float32" in note
    assert list(arithmetic_notes((cpu,), precision="fp32")) == []
    assert list(arithmetic_notes((backend("onnxruntime-cpu", used=False),), precision="mixed")) == []

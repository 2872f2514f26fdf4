from __future__ import annotations

import pytest

from glow_deploy.errors import UsageError


def test_probing_knows_why(model, monkeypatch):
    from glow_deploy.artifact.bundle import Bundle
    from glow_deploy.verify.pytest_plugin import probe

    bundle = Bundle.open(model.bundle)
    found = probe.unusable_backends(bundle, device="auto", ckpt=None)
    assert "onnxruntime-cpu" not in found
    assert "--glow-ckpt" in found["pytorch-fp64"]
    assert "--flavor rtx" in found["tensorrt-rtx"]
    assert set(probe.unusable_backends(bundle, device="cpu", ckpt=model.ckpt)) == {
        "onnxruntime-cuda",
        "tensorrt",
        "tensorrt-rtx",
        "simulated",
    }
    assert "is the CPU" in probe.unusable_backends(bundle, device="cpu", ckpt=None)["onnxruntime-cuda"]
    with pytest.raises(UsageError):
        probe.unusable_backends(bundle, device="gpu", ckpt=None)
    monkeypatch.setattr(probe, "count_gpus", lambda: 1)
    assert "no GPU number 1" in probe.unusable_backends(bundle, device="cuda:1", ckpt=None)["onnxruntime-cuda"]

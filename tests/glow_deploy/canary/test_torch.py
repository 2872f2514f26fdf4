"""torch's own CPU kernels in every type it has: real kernels that nobody here wrote."""

from __future__ import annotations

import pytest

from glow_deploy.canary import detect, make_canary

torch = pytest.importorskip("torch", reason="compares with torch's kernels")


def torch_runner(dtype, device="cpu"):
    """The canary in torch, operands of `dtype`."""
    weights = [torch.tensor(weight, device=device).to(dtype) for weight in make_canary().weights.values()]

    def run(x):
        images = torch.tensor(x, device=device).to(dtype)
        parts = [torch.nn.functional.conv2d(images, weight, padding="same") for weight in weights]
        return torch.cat(parts, dim=1).double().cpu().numpy()

    return run


@pytest.mark.parametrize(
    ("dtype", "detected", "least"),
    [
        (torch.float64, "fp32", 1000),
        (torch.float32, "fp32", 300),
        (torch.bfloat16, "bf16", 20),
        (torch.float16, "fp16", 15),
    ],
    ids=str,
)
def test_torch_kernels_are_named(dtype, detected, least):
    result = detect(torch_runner(dtype))
    assert result.detected == detected
    for found in result.convolutions.values():
        assert found.detected == detected
        assert found.margin > least

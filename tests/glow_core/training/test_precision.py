"""Training with conditioners in bfloat16: near float32, with a guard that knows, and refused where it is slower."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from training_toys import curve, toy_config, toy_training

from glow_core import Glow, GlowConfig
from glow_core.errors import ConfigError, TrainingError
from glow_core.flows.conditioner import Conditioner
from glow_core.training import precision, reversible
from glow_core.training.precision import check_precision, in_full_precision, set_precision
from glow_core.training.reversible import RecomputingGlow


def off(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    """Distance relative to the length, over all tensors together."""
    distance = sum(float((one - other).detach().square().sum()) for one, other in zip(ours, theirs, strict=True))
    return (distance / sum(float(part.detach().square().sum()) for part in theirs)) ** 0.5


def gradients(model: torch.nn.Module, glow: Glow, x: torch.Tensor) -> list[torch.Tensor]:
    return list(torch.autograd.grad(model(x).mean(), list(glow.parameters())))


@pytest.mark.parametrize("coupling", ["affine", "additive"])
def test_gradients_are_near_those_of_float32_whatever_is_kept(perturbed_glow, monkeypatch, coupling: str) -> None:
    glow = perturbed_glow(
        GlowConfig(image_size=(8, 16), levels=2, steps=4, width=32, coupling=coupling, edge_bias=True)
    )
    x = torch.rand(4, 3, 8, 16, generator=torch.Generator().manual_seed(0))
    exact, exact_log_prob = gradients(glow, glow, x), glow.log_prob(x)
    set_precision(glow, "bf16-mixed")
    plain, log_prob = gradients(glow, glow, x), glow.log_prob(x)
    assert log_prob.dtype == torch.float32
    assert 0 < float((log_prob - exact_log_prob).detach().abs().max()) < 5
    error = off(plain, exact)
    assert 1e-4 < error < 0.1
    model = RecomputingGlow(glow, memory="reversible", coarse=True)
    assert off(gradients(model, glow, x), plain) < error
    assert model.take_notes() == []
    assert off(gradients(RecomputingGlow(glow, memory="checkpoint"), glow, x), plain) < 1e-5
    # A control: the limit is in force.
    monkeypatch.setattr(reversible, "COARSE_DRIFT_LIMIT", 1e-8)
    gradients(model, glow, x)
    assert model.take_notes() != []
    with in_full_precision(glow):
        assert torch.equal(glow.log_prob(x), exact_log_prob)
    assert torch.equal(glow.log_prob(x), log_prob)


def test_convolutions_in_sixteen_bit_are_the_products_of_a_cpu() -> None:
    torch.manual_seed(0)
    net = Conditioner(3, 4, width=32, edge_bias=True).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    x = torch.randn(2, 3, 6, 4)
    exact, convolved = (net.by_convolutions(x, arithmetic=dtype) for dtype in (None, torch.bfloat16))
    net.arithmetic = torch.bfloat16
    for found in (convolved, net(x)):
        assert found.dtype == torch.float32
        assert 1e-4 < off([found], [exact]) < 2e-2


@pytest.mark.parametrize("memory", ["plain", "reversible"])
def test_a_run_learns_and_is_looked_at_in_float32(tmp_path: Path, monkeypatch, memory: str) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda device: True)
    options = {"config": toy_config(width=16), "max_steps": 16, "conditioning_penalty": 0.01, "inverse_penalty": 0.01}
    coarse = toy_training(tmp_path / "coarse", precision="bf16-mixed", memory=memory, **options)
    if memory == "reversible":
        toy_training(tmp_path / "halves", precision="bf16-mixed", memory=memory, **{**options, "max_steps": 8})
        toy_training(tmp_path / "halves", precision="bf16-mixed", memory=memory, resume=True, **options)
        assert curve(tmp_path / "halves") == curve(tmp_path / "coarse")
        return
    exact = toy_training(tmp_path / "exact", memory=memory, **options)
    assert curve(tmp_path / "coarse") != curve(tmp_path / "exact")
    assert coarse.validation_bits_per_dim == pytest.approx(exact.validation_bits_per_dim, abs=0.05)


def test_it_is_refused_where_it_would_be_slower_and_cannot_change(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_f": True})
    with pytest.raises(TrainingError, match=r"slower than float32: this CPU .* has no bfloat16 arithmetic"):
        toy_training(tmp_path / "run", precision="bf16-mixed")
    assert not (tmp_path / "run" / "ckpt.pt").exists()
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    check_precision("bf16-mixed", torch.device("cpu"))
    toy_training(tmp_path / "run", max_steps=2)
    with pytest.raises(ConfigError, match="exact_aware rounds conditioners in its own way; leave precision"):
        toy_training(tmp_path / "other", precision="bf16-mixed", exact_aware=True)
    with pytest.raises(TrainingError, match="precision float32, now bf16-mixed"):
        toy_training(tmp_path / "run", max_steps=3, precision="bf16-mixed", resume=True)

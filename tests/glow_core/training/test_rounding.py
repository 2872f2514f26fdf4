from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training_toys import curve, toy_config, toy_settings, toy_training

from glow_core import read_checkpoint
from glow_core.errors import ConfigError, TrainingError
from glow_core.training import memory
from glow_core.training.memory import choose_memory
from glow_core.training.penalties import penalty_terms
from glow_core.training.precision import in_full_precision
from glow_core.training.reversible import RecomputingGlow
from glow_core.training.rounding import round_conditioners, rounded_conditioner
from glow_deploy.exact.conditioners import integer_conditioner
from glow_deploy.exact.interpret import ExactModel
from glow_deploy.folding.fold import fold


@pytest.mark.parametrize("edge_bias", [False, True], ids=["plain", "edge"])
def test_it_rounds_as_much_as_an_exact_graph_and_passes_gradients_on(perturbed_glow, edge_bias: bool) -> None:
    glow = perturbed_glow(toy_config(coupling="additive", width=24, edge_bias=edge_bias), strength=0.2)
    net = glow.flow_levels()[0].flow_steps()[0].coupling.conditioner
    x = torch.randn(32, 2, 4, 4)
    with torch.no_grad():
        real = net(x)
        error = float((rounded_conditioner(net, x) - real).square().mean().sqrt())
    spacing = 2.0**-13
    q = np.rint(x.numpy().astype(np.float64) / spacing).astype(np.int64)
    folded = fold(glow).levels[0].steps[0].conditioner
    made = integer_conditioner(folded, q, spacing=spacing, sign=np.ones(2, dtype=np.int64), bits=8)
    integers = ExactModel(None).conditioner(q, made) * spacing
    exact = float(np.sqrt(((integers - real.numpy()) ** 2).mean()))
    assert 0.5 * exact < error < 2 * exact
    round_conditioners(glow)
    glow.log_prob(torch.rand(4, 1, 8, 8)).sum().backward()
    found = [parameter.grad is not None and bool(parameter.grad.any()) for parameter in net.parameters()]
    assert all(found)
    assert not torch.equal(net(x), real)


def test_a_run_rounds_in_training_alone_and_goes_on_rounding(tmp_path: Path, perturbed_glow) -> None:
    config = toy_config(coupling="additive")
    start = {"config": config, "initial": perturbed_glow(config).state_dict()}
    toy_training(tmp_path / "plain", max_steps=12, **start)
    toy_training(tmp_path / "whole", max_steps=12, exact_aware=True, **start)
    toy_training(tmp_path / "halves", max_steps=8, exact_aware=True, **start)
    toy_training(tmp_path / "halves", max_steps=12, exact_aware=True, resume=True, config=config)
    assert curve(tmp_path / "whole") == curve(tmp_path / "halves") != curve(tmp_path / "plain")
    again = read_checkpoint(tmp_path / "whole" / "ckpt.pt").glow()
    assert all(getattr(module, "computes", None) is None for module in again.modules())


def test_affine_models_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="affine"):
        toy_training(tmp_path / "run", exact_aware=True)
    assert not (tmp_path / "run").exists()


def test_penalties_are_those_of_the_weights_and_nothing_else_is_left_out(perturbed_glow) -> None:
    """What rounds jumps: a finite difference of it is no gain of the inverse."""
    glow = perturbed_glow(toy_config(coupling="additive", steps=3, width=24), strength=0.03)
    x = torch.rand(6, 1, 8, 8)
    settings = toy_settings(inverse_penalty=0.1, conditioning_penalty=0.1)

    def measured() -> dict[str, float]:
        return {
            name: float(value)
            for name, value in penalty_terms(glow, x, None, settings=settings, step=1).measured.items()
        }

    expected, smooth = measured(), glow.log_prob(x)
    round_conditioners(glow)
    assert measured() != expected  # a control
    with in_full_precision(glow):
        assert measured() == expected
    rounded = glow.log_prob(x)
    assert not torch.equal(rounded, smooth)
    parameters = list(glow.parameters())
    plain = torch.autograd.grad(rounded.sum(), parameters)
    again = torch.autograd.grad(RecomputingGlow(glow, memory="checkpoint")(x).sum(), parameters)
    assert all(torch.equal(one, other) for one, other in zip(plain, again, strict=True))


def test_what_does_not_go_with_rounding_is_refused(monkeypatch) -> None:
    for wrong, complaint in (({"accumulate": 2}, "leave accumulate away"), ({"memory": "reversible"}, "checkpoint")):
        with pytest.raises(ConfigError, match=complaint):
            toy_settings(exact_aware=True, **wrong)
        assert toy_settings(**wrong)  # a control
    monkeypatch.setattr(memory, "device_bytes", lambda device: 1 << 10)
    config, cpu = toy_config(coupling="additive"), torch.device("cpu")
    found = [choose_memory(toy_settings(memory="auto", exact_aware=on), config, device=cpu) for on in (True, False)]
    assert found == ["checkpoint", "reversible"]

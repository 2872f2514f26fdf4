"""The penalties against what they claim to measure, their gradients, and what they do to a trained model."""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor
from training_toys import curve, toy_config, toy_images, toy_settings, toy_training

from glow_core import load_checkpoint, read_checkpoint
from glow_core.errors import TrainingError
from glow_core.model import Glow
from glow_core.training import penalties
from glow_core.training.penalties import (
    add_limited_gradient,
    conditioning_penalty,
    draw_directions,
    inverse_gains,
    log_singular_values,
    penalty_terms,
)

BOTH = {"inverse_penalty": 0.1, "inverse_penalty_images": 4, "conditioning_penalty": 0.01}


def number(value: Tensor) -> float:
    return value.detach().item()


def with_matrix(matrix: Tensor, *, scale: float = 0.0) -> Glow:
    """One level of one step with this 1x1 convolution and an actnorm of this log-scale."""
    glow = Glow(toy_config(levels=1, permutation="plain")).double()
    step = glow.flow_levels()[0].flow_steps()[0]
    with torch.no_grad():
        step.permutation.weight.copy_(matrix)
        step.actnorm.log_scale.fill_(scale)
    return glow


def rotation(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]


def with_kappa(kappa: float) -> Tensor:
    """Singular values from 1 to kappa, evenly spaced in their logarithm."""
    return rotation(0) @ torch.diag(torch.logspace(0, math.log10(kappa), 4, dtype=torch.float64)) @ rotation(1)


@pytest.mark.parametrize("permutation", ["lu", "plain", "shuffle", "reverse"])
def test_conditioning_is_zero_for_orthogonal_matrices_and_not_else(permutation: str, perturbed_glow) -> None:
    config = toy_config(steps=3, permutation=permutation)
    assert number(conditioning_penalty(Glow(config))) < 1e-9
    assert number(conditioning_penalty(perturbed_glow(config))) > 1e-3


def test_conditioning_grows_with_the_condition_number_and_bounds_it() -> None:
    values = [number(conditioning_penalty(with_matrix(with_kappa(kappa)))) for kappa in (1, 1.5, 3, 30, 1e5)]
    assert values == sorted(values)
    assert values[0] < 1e-20 < values[1]
    assert values[3] == pytest.approx(math.log2(30) ** 2 * (1 / 4 + 1 / 36) * 2)  # logs at -1/2, -1/6, 1/6, 1/2
    for value, kappa in zip(values, (1, 1.5, 3, 30, 1e5), strict=True):
        assert kappa <= 2 ** math.sqrt(2 * value) + 1e-9


def test_conditioning_does_not_see_the_determinant() -> None:
    matrix = with_kappa(7)
    value = number(conditioning_penalty(with_matrix(matrix)))
    assert number(conditioning_penalty(with_matrix(20 * matrix, scale=-1.5))) == pytest.approx(value)


def test_the_deployed_matrix_is_judged_actnorm_included(perturbed_glow) -> None:
    """A 1x1 that undoes its actnorm's scales is orthogonal once folded."""
    glow = with_matrix(torch.eye(4))
    step = glow.flow_levels()[0].flow_steps()[0]
    scales = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)
    with torch.no_grad():
        step.actnorm.log_scale.copy_(scales[None, :, None, None])
    assert number(conditioning_penalty(glow)) > 1
    with torch.no_grad():
        step.permutation.weight.copy_(rotation(0) @ torch.diag(torch.exp(-scales)))
    assert number(conditioning_penalty(glow)) < 1e-20

    step = perturbed_glow(toy_config(permutation="lu")).flow_levels()[1].flow_steps()[0]
    deployed = step.permutation.matrix().double() * torch.exp(step.actnorm.log_scale.double().flatten())
    expected = torch.linalg.svdvals(deployed).flip(0)
    assert torch.allclose(torch.exp(log_singular_values([step])[0]), expected, rtol=1e-9)


def derivative_and_difference(glow: Glow, function) -> tuple[float, float]:
    """Along one random direction in parameter space: from autograd, and from a central difference."""
    generator = torch.Generator().manual_seed(1)
    parameters = list(glow.parameters())
    directions = [torch.randn(p.shape, generator=generator, dtype=torch.float64) for p in parameters]
    glow.zero_grad()
    function().backward()
    slope = sum(number((p.grad * d).sum()) for p, d in zip(parameters, directions, strict=True) if p.grad is not None)
    values = []
    for sign in (1, -2):
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.add_(sign * 1e-7 * direction)
            values.append(number(function()))
    return slope, (values[0] - values[1]) / 2e-7


@pytest.mark.parametrize(
    "kind",
    [
        {"permutation": "lu"},
        {"permutation": "plain"},
        {"permutation": "lu", "edge_bias": True},
        {"permutation": "lu", "prior": "independent", "num_classes": 3},
    ],
    ids=["lu", "plain", "edges", "independent"],
)
@pytest.mark.parametrize("penalty", ["conditioning", "latents", "steps"])
def test_gradients_are_those_of_finite_differences(perturbed_glow, penalty: str, kind: dict) -> None:
    config = toy_config(steps=2, bounded_scale=False, **kind)
    glow = perturbed_glow(config).double()
    y = None if config.num_classes is None else torch.tensor([0, 2, 1])
    x = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)).double()

    def value() -> Tensor:
        if penalty == "conditioning":
            return conditioning_penalty(glow)
        generator = torch.Generator().manual_seed(2)
        directions = [v.double() for v in draw_directions(config, 3, at=penalty, generator=generator)]
        return torch.log2(inverse_gains(glow, x, y, directions=directions, at=penalty)).sum()

    slope, difference = derivative_and_difference(glow, value)
    assert abs(slope) > 1e-2
    assert slope == pytest.approx(difference, rel=1e-5)


def linear_glow() -> Glow:
    """A fresh model's couplings, split and prior do not look at their input, so that it is linear."""
    torch.manual_seed(0)
    glow = Glow(toy_config(steps=2, permutation="plain")).double()
    with torch.no_grad():
        for level in glow.flow_levels():
            for step in level.flow_steps():
                step.permutation.weight.add_(0.3 * torch.randn_like(step.permutation.weight))
                step.actnorm.log_scale.add_(0.3 * torch.randn_like(step.actnorm.log_scale))
    return glow.eval()


def test_latent_gains_of_a_linear_flow_are_those_of_its_matrix() -> None:
    glow, config, count = linear_glow(), toy_config(steps=2), 2000
    shapes = config.latent_shapes

    def decode(flat: Tensor) -> Tensor:
        parts = torch.split(flat, [math.prod(shape) for shape in shapes])
        return glow.decode([part.reshape(1, *shape) for part, shape in zip(parts, shapes, strict=True)]).flatten()

    matrix = torch.autograd.functional.jacobian(decode, torch.zeros(config.dims, dtype=torch.float64))
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64).expand(count, -1, -1, -1)
    directions = draw_directions(config, count, at="latents", generator=torch.Generator().manual_seed(0))
    gains = inverse_gains(glow, x, directions=[v.double() for v in directions], at="latents")
    flat = torch.cat([v.double().flatten(1) for v in directions], dim=1)
    expected = torch.linalg.vector_norm(flat @ matrix.T, dim=1) / math.sqrt(config.dims)
    assert torch.allclose(gains, expected, rtol=1e-9)
    singular = torch.linalg.svdvals(matrix)
    assert number(gains.square().mean()) == pytest.approx(number(singular.square().mean()), rel=0.02)
    assert number(gains.max()) < number(singular.max())


def test_step_gains_add_up_in_squares() -> None:
    glow, config, count = linear_glow(), toy_config(steps=2), 500
    x = torch.rand(1, 1, 8, 8, dtype=torch.float64).expand(count, -1, -1, -1)
    generator = torch.Generator().manual_seed(0)
    directions = [v.double() for v in draw_directions(config, count, at="steps", generator=generator)]
    together = inverse_gains(glow, x, directions=directions, at="steps").square().mean()
    alone = [
        inverse_gains(glow, x, directions=[v * (k == place) for k, v in enumerate(directions)], at="steps")
        for place in range(len(directions))
    ]
    assert number(together) == pytest.approx(number(sum(gains.square().mean() for gains in alone)), rel=0.04)
    assert all(number(gains.min()) > 0 for gains in alone)
    last = glow.flow_levels()[-1].flow_steps()[-1]
    with torch.no_grad():  # what a step enlarges and the next layers take back changes no error
        last.permutation.weight.mul_(50)
        glow.prior.log_scale.add_(math.log(50))
    again = inverse_gains(glow, x, directions=directions, at="steps").square().mean()
    assert number(again) == pytest.approx(number(together), rel=1e-6)


def terms(glow: Glow, x: Tensor, **options) -> penalties.PenaltyTerms:
    places = {name: options.pop(name) for name in ("rank", "world_size") if name in options}
    return penalty_terms(glow, x, None, settings=toy_settings(**options), step=options.get("step", 4), **places)


@pytest.mark.parametrize("world_size", [2, 3, 5])
@pytest.mark.parametrize("at", ["latents", "steps"])
def test_processes_share_the_images(perturbed_glow, world_size: int, at: str) -> None:
    glow = perturbed_glow(toy_config()).double()
    x = torch.rand(16, 1, 8, 8, dtype=torch.float64)
    options = {**BOTH, "inverse_penalty_at": at}
    whole = terms(glow, x, **options).objective
    shares = [terms(glow, x, rank=rank, world_size=world_size, **options).objective for rank in range(world_size)]
    assert number(sum(shares) / world_size) == pytest.approx(number(whole), rel=1e-9)
    assert number(shares[0]) != pytest.approx(number(whole), rel=1e-3)


def test_what_is_off_or_not_due_costs_nothing(perturbed_glow) -> None:
    glow, x = perturbed_glow(toy_config()), torch.rand(16, 1, 8, 8)
    assert terms(glow, x).objective is None
    assert terms(glow, x, inverse_penalty=0.1, inverse_penalty_every=3).objective is None
    one, two = (number(terms(glow, x, inverse_penalty=0.1, inverse_penalty_every=every).objective) for every in (1, 2))
    assert two == pytest.approx(2 * one)
    assert set(terms(glow, x, conditioning_penalty=0.1).measured) == {"conditioning_penalty"}


def test_an_image_that_overflows_is_disturbed_less(perturbed_glow, monkeypatch) -> None:
    glow, x = perturbed_glow(toy_config()), torch.rand(4, 1, 8, 8)
    before = number(terms(glow, x, inverse_penalty=0.1).measured["inverse_penalty"])
    seen = []

    def overflows(*arguments, epsilon, **options) -> Tensor:
        seen.append(epsilon.tolist())
        gains = inverse_gains(*arguments, epsilon=epsilon, **options)
        return torch.where(torch.tensor([False, True, False, False]) & (epsilon > 0.05), math.nan, gains)

    monkeypatch.setattr(penalties, "inverse_gains", overflows)
    found = terms(glow, x, inverse_penalty=0.1)
    assert seen == [pytest.approx([0.1] * 4), pytest.approx([0.1, 0.01, 0.1, 0.1])]
    assert number(found.measured["inverse_penalty"]) == pytest.approx(before, abs=0.1)
    found.objective.backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in glow.parameters() if p.grad is not None)


@pytest.mark.parametrize("weight", [1e-9, 1.0, 1e9])
def test_the_penalties_gradient_is_at_most_as_large_as_the_likelihoods(perturbed_glow, weight: float) -> None:
    glow, x = perturbed_glow(toy_config()).double(), torch.rand(4, 1, 8, 8, dtype=torch.float64)
    parameters = list(glow.parameters())
    penalty = torch.autograd.grad(weight * conditioning_penalty(glow), parameters, materialize_grads=True)
    (-glow.log_prob(x).mean() / 1000).backward()
    before = torch.cat([p.grad.flatten() for p in parameters])
    add_limited_gradient(weight * conditioning_penalty(glow), parameters)
    added = torch.cat([p.grad.flatten() for p in parameters]) - before
    whole = torch.cat([part.flatten() for part in penalty])
    limit = min(1.0, number(before.norm() / whole.norm()))
    assert torch.allclose(added, limit * whole, rtol=1e-6, atol=1e-12)
    assert (limit == 1) == (weight < 1)


def test_the_watchdog_names_a_penalty_that_is_not_finite(tmp_path: Path, monkeypatch) -> None:
    def overflows(*arguments, **options) -> Tensor:
        return inverse_gains(*arguments, **options) * (math.inf if len(seen) > 3 else 1)

    seen = []
    monkeypatch.setattr(penalties, "inverse_gains", overflows)
    with pytest.raises(TrainingError, match=r"step \d: the inverse penalty is inf .*still holds step"):
        toy_training(tmp_path, progress=seen.append, checkpoint_every=1, **BOTH)


def columns(out: Path, *names: str) -> list[tuple[str, ...]]:
    with (out / "log.csv").open() as handle:
        return [tuple(row[name] for name in names) for row in csv.DictReader(handle)]


@pytest.mark.parametrize("classes", [None, 3])
def test_a_resumed_run_with_penalties_is_the_uninterrupted_one(tmp_path: Path, classes: int | None) -> None:
    options = {**BOTH, "inverse_penalty_every": 2, "classes": classes, "validate_every": None, "checkpoint_every": None}
    toy_training(tmp_path / "whole", max_steps=12, **options)
    toy_training(tmp_path / "halves", max_steps=7, **options)
    toy_training(tmp_path / "halves", max_steps=12, resume=True, **options)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    assert [row[:-1] for row in curve(halves)] == [row[:-1] for row in curve(whole)]
    logged = columns(whole, "step", "inverse_penalty", "conditioning_penalty")
    assert columns(halves, "step", "inverse_penalty", "conditioning_penalty") == logged
    assert all(bool(inverse) == (int(step) % 2 == 0) and conditioning for step, inverse, conditioning in logged)
    ours, theirs = read_checkpoint(halves / "ckpt.pt"), read_checkpoint(whole / "ckpt.pt")
    assert all(torch.equal(tensor, theirs.ema[name]) for name, tensor in ours.ema.items())


def held_out(out: Path) -> tuple[float, float]:
    """Mean log2 of the step gains on unseen images, and the largest condition number."""
    glow = load_checkpoint(out / "ckpt.pt").double()
    x = (torch.from_numpy(toy_images(40, seed=1).pixels).double() + 0.5) / 256
    directions = draw_directions(glow.config, 40, at="steps", generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        gains = inverse_gains(glow, x, directions=[v.double() for v in directions], at="steps", epsilon=1e-3)
        logs = [log_singular_values(level.flow_steps()) for level in glow.flow_levels()]
    return number(torch.log2(gains).mean()), math.exp(max(number((log[:, -1] - log[:, 0]).max()) for log in logs))


def test_each_penalty_lowers_what_it_penalises(tmp_path: Path) -> None:
    config = toy_config(permutation="plain", bounded_scale=False)
    options = {"config": config, "max_steps": 48, "learning_rate": 2e-2, "validate_every": None}
    variants = {
        "without": {},
        "inverse": {"inverse_penalty": 0.5},
        "conditioning": {"conditioning_penalty": 0.1},
    }
    for name, changes in variants.items():
        toy_training(tmp_path / name, **options, **changes)
    gains, kappas = zip(*(held_out(tmp_path / name) for name in variants), strict=True)
    assert gains[1] < gains[0] - 0.1
    assert kappas[2] < 0.8 * kappas[0]


@pytest.mark.slow
def test_the_benchmark_runs() -> None:
    script = Path(__file__).parents[3] / "benchmarks" / "penalties.py"
    done = subprocess.run([sys.executable, str(script), "--quick"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "both, 0.02 and 0.03" in done.stdout
    assert "nan" not in done.stdout

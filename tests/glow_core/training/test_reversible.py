"""Recomputed activations give plain autograd's gradients, and a way back that has become unsound is noticed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
import torch
from torch import Tensor
from training_toys import curve, toy_config, toy_training

from glow_core import Glow, GlowConfig, load_checkpoint, read_checkpoint
from glow_core.errors import CheckpointError
from glow_core.flows import InvertibleConv1x1
from glow_core.training import Progress, reversible
from glow_core.training.reversible import DRIFT_LIMIT, RecomputingGlow, drift_between

# Every pair of options, but for levels.
EVERYTHING = [
    {
        "coupling": ("affine", "additive")[(row + column) % 2],
        "permutation": permutation,
        "bounded_scale": column % 2 == 0,
        "levels": 1 + (row + column) % 3,
        **rest,
    }
    for row, permutation in enumerate(("lu", "plain", "shuffle", "reverse"))
    for column, rest in enumerate(
        (
            {},
            {"edge_bias": True, "num_classes": 3, "channels": 1},
            {"prior": "independent", "num_classes": 3, "edge_bias": True},
            {"prior": "independent", "channels": 1},
            {"num_classes": 2, "steps": 1},
        )
    )
]


def config_of(**changes: object) -> GlowConfig:
    return GlowConfig(**{"image_size": (16, 8), "levels": 2, "steps": 2, "width": 6, **changes})


def inputs(config: GlowConfig, dtype: torch.dtype = torch.float64, count: int = 3) -> tuple[Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(7)
    x = torch.rand(count, config.channels, *config.image_size, generator=generator, dtype=torch.float64).to(dtype)
    return x, None if config.num_classes is None else torch.arange(count) % config.num_classes


def gradients(model: torch.nn.Module, glow: Glow, x: Tensor, y: Tensor | None) -> tuple[Tensor, list[Tensor]]:
    log_prob = model(x, y)
    # Images count differently, so that a log-determinant that ended up with another image is seen.
    weights = torch.arange(1, len(x) + 1, dtype=x.dtype)
    found = torch.autograd.grad((log_prob * weights).sum(), list(glow.parameters()))
    return log_prob.detach(), list(found)


def difference(ours: list[Tensor], theirs: list[Tensor]) -> float:
    """The largest over parameters, relative to the larger of a parameter's gradient and a thousandth of the largest."""
    floor = 1e-3 * max(float(part.norm()) for part in theirs)
    return max(
        float((one - other).norm()) / max(float(other.norm()), floor) for one, other in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("options", EVERYTHING, ids=lambda options: "-".join(map(str, options.values())))
def test_gradients_are_those_of_plain_autograd(perturbed_glow, options: dict) -> None:
    config = config_of(**options)
    glow = perturbed_glow(config).double()
    x, y = inputs(config)
    log_prob, plain = gradients(glow, glow, x, y)
    assert min(float(part.abs().max()) for part in plain) > 0
    for memory in ("reversible", "checkpoint"):
        model = RecomputingGlow(glow, memory=memory)
        again, found = gradients(model, glow, x, y)
        assert torch.allclose(again, log_prob, rtol=1e-12)
        assert difference(found, plain) < 1e-10
        assert model.take_notes() == []


@pytest.mark.parametrize("options", EVERYTHING[::4], ids=lambda options: "-".join(map(str, options.values())))
def test_gradients_in_float32_err_as_plain_autograd_does(perturbed_glow, options: dict) -> None:
    config = config_of(**options, width=16, image_size=(32, 16))
    glow = perturbed_glow(config)
    single, plain = ([], [])
    for dtype in (torch.float64, torch.float32):
        x, y = inputs(config, torch.float32)
        glow = glow.to(dtype)
        plain.append([part.double() for part in gradients(glow, glow, x.to(dtype), y)[1]])
        if dtype == torch.float32:
            model = RecomputingGlow(glow, memory="reversible")
            single = [part.double() for part in gradients(model, glow, x, y)[1]]
    noise = difference(plain[1], plain[0])
    assert difference(single, plain[0]) < max(20 * noise, 1e-5)


@pytest.mark.parametrize("wrong", ["dropped", "doubled"])
@pytest.mark.parametrize("coupling", ["affine", "additive"])
def test_a_wrong_gradient_of_the_log_determinant_is_noticed(
    perturbed_glow, monkeypatch, wrong: str, coupling: str
) -> None:
    config = config_of(coupling=coupling)
    glow = perturbed_glow(config).double()
    x, y = inputs(config)
    _, plain = gradients(glow, glow, x, y)
    pull = reversible._pull

    def twisted(output: Tensor, log_det: Tensor, *rest: object) -> tuple[Tensor, ...]:
        return pull(output, log_det.detach() if wrong == "dropped" else 2 * log_det, *rest)

    monkeypatch.setattr(reversible, "_pull", twisted)
    assert difference(gradients(RecomputingGlow(glow, memory="reversible"), glow, x, y)[1], plain) > 1e-3


def test_frozen_parameters_get_no_gradient(perturbed_glow) -> None:
    glow = perturbed_glow(config_of()).double()
    frozen = [step.actnorm.log_scale for level in glow.flow_levels() for step in level.flow_steps()]
    for parameter in frozen:
        parameter.requires_grad_(requires_grad=False)
    x, y = inputs(glow.config)
    results = []
    for model in (glow, RecomputingGlow(glow, memory="reversible")):
        glow.zero_grad()
        model(x, y).sum().backward()
        results.append([None if part.grad is None else part.grad.clone() for part in glow.parameters()])
    assert all(part.grad is None for part in frozen)
    plain, ours = ([part for part in found if part is not None] for found in results)
    assert len(plain) == len(list(glow.parameters())) - len(frozen)
    assert difference(ours, plain) < 1e-10


def test_weights_that_change_before_the_backward_pass_are_refused(perturbed_glow) -> None:
    glow = perturbed_glow(config_of())
    x, y = inputs(glow.config, torch.float32)
    loss = RecomputingGlow(glow, memory="reversible")(x, y).sum()
    with torch.no_grad():
        next(glow.levels[1].parameters()).add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def nearly_singular(perturbed_glow, *, kappa: float, step: int = 2, steps: int = 5) -> Glow:
    """A model one of whose 1x1 convolutions loses digits when it is inverted."""
    glow = perturbed_glow(config_of(permutation="plain", steps=steps))
    convolution = glow.flow_levels()[0].flow_steps()[step].permutation
    assert isinstance(convolution, InvertibleConv1x1)
    with torch.no_grad():
        left, values, right = torch.linalg.svd(convolution.weight.double())
        values[-1] = values[0] / kappa
        convolution.weight.copy_(left @ torch.diag(values) @ right)
    return glow


def first_steps(glow: Glow, found: list[Tensor]) -> list[Tensor]:
    """Gradients of the couplings before the convolution, whose own gradient is too large to compare others with."""
    names = [name for name, _ in glow.named_parameters()]
    chosen = ("levels.0.steps.0.coupling", "levels.0.steps.1.coupling")
    return [part for name, part in zip(names, found, strict=True) if name.startswith(chosen)]


@pytest.mark.parametrize("kappa", [10, 1e5, float("inf")])
def test_an_unsound_inverse_costs_memory_and_no_gradient(perturbed_glow, kappa: float) -> None:
    glow = nearly_singular(perturbed_glow, kappa=min(kappa, 1e30))
    x, y = inputs(glow.config, torch.float32)
    model = RecomputingGlow(glow, memory="reversible")
    _, plain = gradients(glow, glow, x, y)
    drifts = []
    for _ in range(5):
        _, found = gradients(model, glow, x, y)
        assert difference(first_steps(glow, found), first_steps(glow, plain)) < 2e-3
        assert difference(found, plain) < 2e-3
        drifts.append(model.plans()[0].drift)
    notes = model.take_notes()
    if kappa == 10:
        assert notes == []
        assert model.plans()[0].anchors == [0]
        assert drifts[-1] < DRIFT_LIMIT
    else:
        assert len(notes) == 1  # however often an input was added
        assert "level 1: steps 1 to 5 cannot be recomputed" in notes[0]
        # The step stands alone, and what lies before and behind it is found by inverses again.
        assert {2, 3} <= set(model.plans()[0].anchors) < {0, 1, 2, 3, 4} | {-1}
        assert drifts[0] > DRIFT_LIMIT > drifts[-1]
    assert model.plans()[1].anchors == [0]


def test_without_the_guard_the_gradient_would_be_wrong(perturbed_glow, monkeypatch) -> None:
    glow = nearly_singular(perturbed_glow, kappa=1e7)
    x, y = inputs(glow.config, torch.float32)
    _, plain = gradients(glow, glow, x, y)
    monkeypatch.setattr(reversible, "DRIFT_LIMIT", float("inf"))
    _, found = gradients(RecomputingGlow(glow, memory="reversible"), glow, x, y)
    assert difference(first_steps(glow, found), first_steps(glow, plain)) > 0.05


@pytest.mark.parametrize("brightness", [0.0, 128 / 256])
def test_a_flat_picture_in_the_batch_is_no_alarm(perturbed_glow, brightness: float) -> None:
    glow = perturbed_glow(config_of(steps=8))
    x, y = inputs(glow.config, torch.float32)
    # Dequantisation noise alone is left of it; 0.5 is what encoding takes off.
    x[1] = brightness + torch.rand(x[1].shape, generator=torch.Generator().manual_seed(1)) / 256
    model = RecomputingGlow(glow, memory="reversible")
    gradients(model, glow, x, y)
    assert model.take_notes() == []
    assert 0 < model.plans()[0].drift < DRIFT_LIMIT


def test_a_flat_picture_is_measured_by_its_batch() -> None:
    kept = torch.ones(2, 1, 4, 4)
    kept[0] *= 1e-3
    again = kept.clone()
    again[0] += 1e-7
    assert drift_between(again, kept) == pytest.approx(1e-7 / 0.5**0.5, rel=0.05)
    assert drift_between(again[:1], kept[:1]) > DRIFT_LIMIT


def test_an_exactly_singular_matrix_is_an_infinite_drift(perturbed_glow) -> None:
    glow = perturbed_glow(config_of(permutation="plain"))
    with torch.no_grad():
        glow.flow_levels()[0].flow_steps()[1].permutation.weight[:, 0] = 0
    x, y = inputs(glow.config, torch.float32)
    model = RecomputingGlow(glow, memory="reversible")
    # The log-determinant is infinite, so that only gradients through the latents can be compared.
    found, plain = (
        torch.autograd.grad(glow.encode(x, y, through=through)[0][0].sum(), list(glow.levels[0].parameters())[:3])
        for through in (model.through, None)
    )
    assert model.plans()[0].drift == float("inf")
    assert "off by inf" in model.take_notes()[0]
    assert difference(list(found), list(plain)) < 1e-5


def test_a_drift_that_is_no_number_is_an_infinite_one(perturbed_glow, monkeypatch) -> None:
    glow = perturbed_glow(config_of())
    x, y = inputs(glow.config, torch.float32)
    model = RecomputingGlow(glow, memory="reversible")
    monkeypatch.setattr(reversible, "drift_between", lambda again, kept: float("nan"))
    gradients(model, glow, x, y)
    assert model.plans()[0].drift == float("inf")
    assert model.plans()[0].anchors == [0, 1]


def test_gradients_of_gradients_are_refused(perturbed_glow) -> None:
    glow = perturbed_glow(config_of()).double()
    x, y = inputs(glow.config)
    weight = glow.flow_levels()[0].flow_steps()[0].actnorm.log_scale
    log_prob = RecomputingGlow(glow, memory="reversible")(x, y).sum()
    with pytest.raises(RuntimeError, match="no gradients of gradients"):
        torch.autograd.grad(log_prob, [weight], create_graph=True)


@pytest.mark.parametrize("memory", ["reversible", "checkpoint"])
def test_gradients_of_a_shared_layer_are_added(perturbed_glow, memory: str) -> None:
    glow = perturbed_glow(config_of(levels=1)).double()
    first, second = glow.flow_levels()[0].flow_steps()
    second.coupling = first.coupling
    x, y = inputs(glow.config)
    _, plain = gradients(glow, glow, x, y)
    _, found = gradients(RecomputingGlow(glow, memory=memory), glow, x, y)
    assert difference(found, plain) < 1e-10


def test_what_one_process_keeps_all_do(perturbed_glow) -> None:
    glow = perturbed_glow(config_of(steps=4))
    one, other = (RecomputingGlow(glow, memory="reversible") for _ in range(2))
    other.plans()[1].give_up(0, 4, 1.0)
    flags = [mine + theirs for mine, theirs in zip(one.anchor_flags(), other.anchor_flags(), strict=True)]
    for model in (one, other):
        model.take_over(flags)
        model.take_over([value / 2 for value in flags])
        assert [plan.anchors for plan in model.plans()] == [[0], [0, 2]]
    assert ["another process" in note for note in one.take_notes()] == [True]
    assert ["another process" in note for note in other.take_notes()] == [False]


def test_the_worst_image_decides_on_the_drift() -> None:
    kept = torch.ones(4, 2, 2, 2)
    again = kept.clone()
    assert drift_between(again, kept) == 0
    again[2] += 0.5
    assert drift_between(again, kept) == pytest.approx(0.5)
    again[1, 0, 0, 0] = float("nan")
    assert not drift_between(again, kept) <= DRIFT_LIMIT


PENALTIES = {"inverse_penalty": 0.05, "inverse_penalty_every": 2, "conditioning_penalty": 0.02}


def numbers(out: Path, column: str) -> list[float]:
    with (out / "log.csv").open() as handle:
        return [float(row[column]) for row in csv.DictReader(handle) if row[column]]


@pytest.mark.parametrize(
    "options", [{}, {**PENALTIES}, {**PENALTIES, "inverse_penalty_at": "latents"}], ids=["none", "steps", "latents"]
)
def test_a_run_takes_the_same_way_however_it_keeps_activations(tmp_path: Path, options: dict) -> None:
    config = toy_config(steps=2)
    common = {"config": config, "max_steps": 4, "validate_every": None, "checkpoint_every": None, **options}
    for memory in ("plain", "reversible", "checkpoint"):
        toy_training(tmp_path / memory, memory=memory, **common)
    for column in (
        "bits_per_dim",
        "grad_norm",
        *(name for name in PENALTIES if name in options and "every" not in name),
    ):
        plain = numbers(tmp_path / "plain", column)
        for memory in ("reversible", "checkpoint"):
            assert numbers(tmp_path / memory, column) == pytest.approx(plain, rel=2e-3)
    ours, theirs = (read_checkpoint(tmp_path / name / "ckpt.pt").ema for name in ("reversible", "plain"))
    assert max(float((ours[name] - theirs[name]).abs().max()) for name in theirs) < 1e-3


def test_a_resumed_run_is_the_uninterrupted_one_and_may_change_its_memory(tmp_path: Path) -> None:
    options = {"config": toy_config(steps=2), "memory": "reversible", "validate_every": None, "checkpoint_every": None}
    toy_training(tmp_path / "whole", max_steps=5, **options)
    toy_training(tmp_path / "halves", max_steps=3, **options)
    toy_training(tmp_path / "halves", max_steps=5, resume=True, **options)
    assert [row[:-1] for row in curve(tmp_path / "halves")] == [row[:-1] for row in curve(tmp_path / "whole")]
    toy_training(tmp_path / "halves", max_steps=7, resume=True, **options | {"memory": "plain"})
    toy_training(tmp_path / "whole", max_steps=7, resume=True, **options)
    found = [numbers(tmp_path / name, "bits_per_dim") for name in ("halves", "whole")]
    assert len(found[0]) == 7
    assert found[0] == pytest.approx(found[1], rel=1e-3)


def test_a_run_says_once_where_it_began_to_keep_inputs_and_goes_on_so(tmp_path: Path, perturbed_glow) -> None:
    config = toy_config(steps=4, permutation="plain")
    glow = perturbed_glow(config)
    with torch.no_grad():
        weight = glow.flow_levels()[0].flow_steps()[1].permutation.weight
        left, values, right = torch.linalg.svd(weight.double())
        values[-1] = values[0] * 1e-7
        weight.copy_(left @ torch.diag(values) @ right)
    events: list[Progress] = []
    options = {
        "config": config, "memory": "reversible", "validate_every": None, "checkpoint_every": None,
        "learning_rate": 1e-9, "progress": events.append,
    }  # fmt: skip
    for name, steps in (("whole", 5), ("halves", 3)):
        toy_training(tmp_path / name, max_steps=steps, initial=glow.state_dict(), **options)
    notes = [event.note for event in events if event.event == "note"]
    assert len(notes) == 2  # one a run
    assert notes[0] == notes[1]
    assert notes[0].startswith("level 1: steps 1 to 4 cannot be recomputed from their output (off by ")
    assert "--conditioning-penalty" in notes[0]
    assert "--memory checkpoint" in notes[0]
    kept = read_checkpoint(tmp_path / "halves" / "ckpt.pt").training["anchors"]
    assert 1 in kept[0]
    assert kept[1] == [0]
    toy_training(tmp_path / "halves", max_steps=5, resume=True, **options)
    assert len([event for event in events if event.event == "note"]) == 2
    assert [row[:-1] for row in curve(tmp_path / "halves")] == [row[:-1] for row in curve(tmp_path / "whole")]
    assert load_checkpoint(tmp_path / "halves" / "ckpt.pt").config == config


@pytest.mark.parametrize("anchors", [[[0]], [[0], [0, 3]], [[0], [2, 0]], [[1], [0]], [[0], [0, 0]], 5, [["a"], [0]]])
def test_kept_inputs_of_another_model_are_refused(anchors: object) -> None:
    from types import SimpleNamespace

    from glow_core.training.state import restore_anchors

    model = RecomputingGlow(Glow(toy_config(steps=3)), memory="reversible")
    with pytest.raises(CheckpointError, match="kept inputs"):
        restore_anchors(SimpleNamespace(training={"anchors": anchors}), model)
    restore_anchors(SimpleNamespace(training={}), model)
    restore_anchors(SimpleNamespace(training={"anchors": [[0, 2], [0]]}), model)
    assert [plan.anchors for plan in model.plans()] == [[0, 2], [0]]

"""normflows itself, run in float64, is what its reader is held against."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal
from unittest.mock import patch

import pytest
import torch
from unrounded import float64_glow

from glow_core import read_checkpoint
from glow_core.errors import CheckpointError
from glow_core.import_options import ImportOptions

nf = pytest.importorskip("normflows", reason="normflows is not installed: pip install normflows==1.7.3")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A MultiscaleFlow as the package's own example builds it; `size` is (H, W), `bases` are named coarsest first."""

    size: tuple[int, int] = (8, 8)
    levels: int = 2
    blocks: int = 2
    channels: int = 3
    width: int = 5
    bases: tuple[Literal["glow", "diag", "class", "glow-class"], ...] = ("glow", "glow")
    classes: int | None = None
    scale: bool = True
    use_lu: bool = True
    net_actnorm: bool = False
    shift: bool = False


CASES = {
    "per-channel bases": Model(),
    "one level, additive, plain": Model(levels=1, bases=("glow",), scale=False, use_lu=False),
    "bases with a value a pixel": Model(levels=3, bases=("diag",) * 3, size=(8, 24), blocks=1),
    "a base for every class": Model(bases=("class", "class"), classes=10, net_actnorm=True),
    "four levels": Model(levels=4, bases=("class",) * 4, classes=3, blocks=1, size=(16, 32), width=3),
    "per-channel class bases": Model(bases=("glow-class", "glow-class"), classes=4, use_lu=False),
    "some bases know the class": Model(levels=3, bases=("diag", "glow", "class"), classes=2, blocks=3),
    "greyscale, hidden actnorms": Model(channels=1, levels=3, bases=("glow",) * 3, blocks=3, net_actnorm=True),
    "greyscale, additive, shifted": Model(channels=1, scale=False, net_actnorm=True, shift=True),
    "shifted": Model(shift=True, bases=("diag", "glow"), use_lu=False),
    "a pixel left": Model(size=(4, 4), bases=("diag", "diag")),
}
# Measured: 4e-14 for images, 3e-13 nats.
TOLERANCE = 1e-10
# The stored model is float32, and rounds what actnorms and priors were multiplied by. Measured: 1.1e-8 bits/dim.
BITS = 1e-6


def build(case: Model, *, seed: int = 0, **block: Any) -> Any:
    """Build the model of a case, every parameter moved, its actnorms marked as set."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        bases, flows = [], []
        for index in range(case.levels):
            channels = case.channels * 2 ** (case.levels + 1 - index)
            side = 2 ** (case.levels - index)
            latent = (channels if index == 0 else channels // 2, case.size[0] // side, case.size[1] // side)
            bases.append(_base(case.bases[index], latent, case.classes))
            flows.append([_block(case, channels, **block) for _ in range(case.blocks)] + [nf.flows.Squeeze()])
        model = nf.MultiscaleFlow(
            bases,
            flows,
            [nf.flows.Merge() for _ in range(case.levels - 1)],
            transform=nf.transforms.Shift(-0.5) if case.shift else None,
            class_cond=case.classes is not None,
        )
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                square = name.endswith((".W", ".L", ".U"))
                fan_in = parameter.shape[0] if square else max(1, parameter[0].numel() / 3)
                parameter.add_((0.1 if square else 0.2) * torch.randn_like(parameter) / math.sqrt(fan_in))
        for name, buffer in model.named_buffers():
            if name.endswith("data_dep_init_done"):
                buffer.fill_(1)
    return model


def _block(case: Model, channels: int, **block: Any) -> Any:
    settings = {"scale": case.scale, "use_lu": case.use_lu, "net_actnorm": case.net_actnorm, "init_zeros": False}
    return nf.flows.GlowBlock(channels, case.width, **{**settings, **block})


def _base(kind: str, latent: tuple[int, int, int], classes: int | None) -> Any:
    match kind:
        case "glow":
            return nf.distributions.GlowBase(latent)
        case "glow-class":
            return nf.distributions.GlowBase(latent, classes)
        case "diag":
            return nf.distributions.DiagGaussian(latent)
        case _:
            return nf.distributions.ClassCondDiagGaussian(latent, classes)


def options_of(case: Model) -> ImportOptions:
    return ImportOptions(
        image_size=None if "diag" in case.bases or "class" in case.bases else case.size,
        n_bits=8,
        input_range="centred" if case.shift else "unit",
        scale_map="sigmoid" if case.scale else None,
    )


def examples(case: Model, *, count: int = 4) -> tuple[torch.Tensor, torch.Tensor | None]:
    generator = torch.Generator().manual_seed(7)
    images = torch.rand(count, case.channels, *case.size, generator=generator, dtype=torch.float64)
    return images, None if case.classes is None else torch.arange(count) % case.classes


def draws(latents: list[torch.Tensor]) -> Iterator[torch.Tensor]:
    """What the package's bases get for noise, one after the other, the coarsest first."""
    yield from reversed(latents)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_density_latents_and_decoded_images_are_those_of_the_package(case):
    model = build(case)
    glow = float64_glow(model.state_dict(), options_of(case))
    theirs = copy.deepcopy(model).double()
    x, y = examples(case)
    with torch.no_grad():
        latents, log_prob = glow.encode(x, y)
        assert float((log_prob - theirs.log_prob(x.clone(), y)).abs().max()) < TOLERANCE
        # The package samples its bases from standard normal noise: given our latents for that, it must draw x itself.
        with patch("torch.randn", side_effect=draws(latents)):
            drawn, log_q = theirs.sample(len(x), y)
        assert float((drawn - x).abs().max()) < TOLERANCE
        assert float((log_q - log_prob).abs().max()) < TOLERANCE
        assert float((glow.decode(latents, y) - x).abs().max()) < TOLERANCE


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_file_gives_the_likelihood_of_the_package(case, tmp_path):
    model = build(case, seed=1)
    model.save(tmp_path / "glow.pth")
    checkpoint = read_checkpoint(tmp_path / "glow.pth", options=options_of(case))
    assert checkpoint.config.num_classes == case.classes
    assert checkpoint.config.image_size == case.size
    x, y = examples(case)
    with torch.no_grad():
        difference = checkpoint.glow().double().log_prob(x, y) - model.double().log_prob(x.clone(), y)
    assert float(difference.abs().max()) / (x[0].numel() * math.log(2)) < BITS


@pytest.mark.parametrize("changed", [{"scale_map": "exp"}, {"scale_map": "sigmoid_inv"}, {"leaky": 0.1}], ids=str)
def test_the_comparison_shows_what_the_file_does_not_hold(changed):
    """Models that differ in nothing but what leaves no trace: read as the defaults, they are others."""
    case = CASES["per-channel bases"]
    model = build(case, **changed)
    glow = float64_glow(model.state_dict(), options_of(case))
    x, y = examples(case)
    with torch.no_grad():
        difference = glow.log_prob(x, y) - model.double().log_prob(x, y)
    assert float(difference.abs().max()) > 1e-2


def test_a_split_by_checkerboard_is_refused(tmp_path):
    model = build(Model(), split_mode="checkerboard")
    model.save(tmp_path / "glow.pth")
    with pytest.raises(CheckpointError, match="checkerboard"):
        read_checkpoint(tmp_path / "glow.pth", options=options_of(Model()))


@pytest.mark.parametrize("channels", [1, 3])
def test_blocks_without_a_squeeze_are_refused(channels, tmp_path):
    case = replace(CASES["one level, additive, plain"], channels=channels)
    base = nf.distributions.GlowBase((channels, *case.size))
    model = nf.MultiscaleFlow([base], [[_block(case, channels)]], [], class_cond=False)
    model.save(tmp_path / "glow.pth")
    with pytest.raises(CheckpointError, match=f"{channels} channels"):
        read_checkpoint(tmp_path / "glow.pth", options=options_of(case))


def test_a_model_that_never_saw_an_image_is_refused(tmp_path):
    model = build(Model())
    for name, buffer in model.named_buffers():
        if name.endswith("data_dep_init_done"):
            buffer.zero_()
    model.save(tmp_path / "glow.pth")
    with pytest.raises(CheckpointError, match="never seen an image"):
        read_checkpoint(tmp_path / "glow.pth", options=options_of(Model()))

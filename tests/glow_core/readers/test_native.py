"""From layers of any project to this package's model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from glow_core import ImportOptions
from glow_core.errors import CheckpointError
from glow_core.readers.layers import (
    ForeignGlow,
    IndependentPrior,
    Level,
    LowerUpper,
    Matrix,
    Net,
    Norm,
    Order,
    ScaledConv,
    Step,
    TopPrior,
)
from glow_core.readers.native import to_checkpoint

WIDTH = 3


class Made:
    """Random layers of a Glow for 4x8 images of one channel, L=2."""

    def __init__(self, seed: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, scale: float = 0.2) -> Tensor:
        return scale * torch.randn(shape, generator=self._generator, dtype=torch.float64)

    def norm(self, channels: int) -> Norm:
        return Norm(bias=self.normal(channels), log_scale=self.normal(channels))

    def lower_upper(self, channels: int) -> LowerUpper:
        order = torch.randperm(channels, generator=self._generator)
        return LowerUpper(
            permutation=torch.eye(channels, dtype=torch.float64)[order],
            lower=self.normal(channels, channels),
            upper=self.normal(channels, channels),
            sign=self.normal(channels).sign(),
            log_abs_s=self.normal(channels),
        )

    def matrix(self, channels: int) -> Matrix:
        return Matrix(weight=torch.eye(channels, dtype=torch.float64) + self.normal(channels, channels, scale=0.1))

    def order(self, channels: int) -> Order:
        return Order(order=torch.randperm(channels, generator=self._generator))

    def conv(self, inputs: int, outputs: int, *, edge: bool = False) -> ScaledConv:
        return ScaledConv(
            weight=self.normal(outputs, inputs, 3, 3),
            bias=self.normal(outputs),
            log_scale=self.normal(outputs),
            edge=self.normal(outputs, 3, 3) if edge else None,
        )

    def net(self, inputs: int, outputs: int, *, edge: bool = False) -> Net:
        return Net(
            conv1=self.normal(WIDTH, inputs, 3, 3),
            norm1=self.norm(WIDTH),
            conv2=self.normal(WIDTH, WIDTH, 1, 1),
            norm2=self.norm(WIDTH),
            conv3=self.conv(WIDTH, outputs, edge=edge),
        )

    def step(self, channels: int, permutation: LowerUpper | Matrix | Order | None = None) -> Step:
        return Step(
            actnorm=self.norm(channels),
            permutation=permutation or self.lower_upper(channels),
            net=self.net(channels // 2, channels),
        )

    def glow(self, *steps: Step) -> ForeignGlow:
        """`steps` are those of the two levels, one each, where they are given."""
        first, second = steps or (self.step(4), self.step(8))
        return ForeignGlow(
            image_size=(4, 8),
            n_bits=5,
            centred=True,
            levels=(Level(steps=(first,), split=self.conv(2, 4)), Level(steps=(second,), split=None)),
            prior=TopPrior(mean=self.normal(8), log_scale=self.normal(8)),
        )


@pytest.fixture
def made():
    return Made()


def checkpoint(glow, options=None):
    return to_checkpoint(glow, path=Path("file.pt"), project="some/project", options=options or ImportOptions())


@torch.no_grad()
def encoded(glow, x, y=None):
    z, log_prob = checkpoint(glow).glow().double().encode(x, y)
    return [*z, log_prob]


def images(seed=3):
    return torch.rand(3, 1, 4, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def apart(one, other):
    return max(float((a - b).abs().max()) for a, b in zip(one, other, strict=True))


def with_first_step(glow, change):
    """Return the model with its first step changed."""
    first = glow.levels[0]
    return replace(glow, levels=(replace(first, steps=(change(first.steps[0]), *first.steps[1:])), *glow.levels[1:]))


def test_the_config_comes_from_the_shapes(made):
    read = checkpoint(made.glow(), ImportOptions(n_bits=5))
    config = read.config
    assert (config.image_size, config.channels, config.levels, config.steps, config.width) == ((4, 8), 1, 2, 1, WIDTH)
    assert (config.coupling, config.permutation, config.n_bits) == ("affine", "lu", 5)
    assert (config.bounded_scale, config.edge_bias, config.prior, config.num_classes) == (
        False,
        False,
        "conditional",
        None,
    )
    assert (read.origin.project, read.origin.options, read.origin.notes) == ("some/project", {"n_bits": 5}, ())
    assert read.ema is None
    assert read.glow().is_initialized


def test_additive_couplings_are_known_by_their_outputs(made):
    steps = [replace(made.step(channels), net=made.net(channels // 2, channels // 2)) for channels in (4, 8)]
    assert checkpoint(made.glow(*steps)).config.coupling == "additive"


# ---- kinds of 1x1 convolution


@pytest.mark.parametrize("kind", ["lower_upper", "matrix", "order"])
def test_one_kind_throughout_stays(made, kind):
    steps = [made.step(channels, getattr(made, kind)(channels)) for channels in (4, 8)]
    config = checkpoint(made.glow(*steps)).config
    assert config.permutation == {"lower_upper": "lu", "matrix": "plain", "order": "shuffle"}[kind]


@pytest.mark.parametrize("kinds", [("matrix", "lower_upper"), ("order", "lower_upper"), ("order", "matrix")])
def test_mixed_kinds_become_plain_with_the_same_function(made, kinds):
    steps = [made.step(channels, getattr(made, kind)(channels)) for kind, channels in zip(kinds, (4, 8), strict=True)]
    mixed = made.glow(*steps)
    assert checkpoint(mixed).config.permutation == "plain"
    # Each level alone, of one kind, is what the mixture does there.
    x = images()
    for number, kind in enumerate(kinds):
        others = list(steps)
        others[1 - number] = replace(
            steps[1 - number], permutation=_as(kind, steps[1 - number].permutation.matrix(), made)
        )
        if others[1 - number].permutation is not None:
            same = replace(
                mixed, levels=tuple(replace(lv, steps=(st,)) for lv, st in zip(mixed.levels, others, strict=True))
            )
            assert checkpoint(same).config.permutation == {"matrix": "plain", "lower_upper": "lu"}[kind]
            assert apart(encoded(mixed, x), encoded(same, x)) < 1e-5


def _as(kind, matrix, made):
    """A matrix in another form; None where it has none."""
    if kind == "matrix":
        return Matrix(weight=matrix)
    if kind == "order":
        return None
    permutation, lower, upper = torch.linalg.lu(matrix)
    diagonal = upper.diagonal()
    return LowerUpper(
        permutation=permutation,
        lower=lower,
        upper=upper,
        sign=diagonal.sign(),
        log_abs_s=diagonal.abs().log(),
    )


@pytest.mark.parametrize("kind", ["lower_upper", "matrix"])
def test_signs_of_the_inputs_are_columns_of_the_matrix(made, kind):
    layer = getattr(made, kind)(6)
    signs = torch.tensor([1.0, -1, -1, 1, -1, 1], dtype=torch.float64)
    torch.testing.assert_close(layer.with_input_signs(signs).matrix(), layer.matrix() @ torch.diag(signs))


def test_an_order_is_its_matrix(made):
    order = made.order(6)
    x = made.normal(6)
    assert torch.equal(order.matrix() @ x, x[order.order])


# ---- images fed without centring


def test_images_that_were_not_centred_meet_the_same_model(made):
    centred = made.glow()
    unit = replace(centred, centred=False)
    x = images()
    assert apart(encoded(unit, x), encoded(centred, x + 0.5)) < 1e-6
    assert apart(encoded(unit, x), encoded(centred, x)) > 0.01


# ---- edges


@pytest.mark.parametrize("where", ["conv1", "conv3", "split", "prior"])
def test_an_edge_anywhere_gives_edges_of_zeros_elsewhere(made, where):
    glow = made.glow()
    edge = {"conv1": WIDTH, "conv3": 4, "split": 4, "prior": 16}[where]
    for numbers, same in ((torch.zeros(edge, 3, 3), True), (made.normal(edge, 3, 3), False)):
        edged = _edged(glow, where, numbers)
        read = checkpoint(edged)
        assert read.config.edge_bias
        found = {name: value for name, value in read.model.items() if name.endswith(("edge", "edge1"))}
        assert len(found) == 2 * 2 + 1 + 1
        assert sum(bool(value.any()) for value in found.values()) == (0 if same else 1)
        x = images()
        assert (apart(encoded(edged, x), encoded(glow, x)) < 1e-12) == same


def _edged(glow, where, edge):
    if where == "prior":
        return replace(glow, prior=replace(glow.prior, edge=edge))
    if where == "split":
        first = glow.levels[0]
        return replace(glow, levels=(replace(first, split=replace(first.split, edge=edge)), glow.levels[1]))
    return with_first_step(
        glow,
        lambda step: replace(
            step,
            net=replace(step.net, edge1=edge)
            if where == "conv1"
            else replace(step.net, conv3=replace(step.net.conv3, edge=edge)),
        ),
    )


# ---- the last convolution's outputs


def test_outputs_are_put_in_order(made):
    conv = made.conv(2, 6, edge=True)
    conv = replace(conv, bias=torch.arange(6.0, dtype=torch.float64))
    assert conv.deinterleaved().bias.tolist() == [0, 2, 4, 1, 3, 5]
    assert conv.swapped().bias.tolist() == [3, 4, 5, 0, 1, 2]
    for ordered in (conv.deinterleaved(), conv.swapped()):
        rows = ordered.bias.long()
        for name in ("weight", "log_scale", "edge"):
            assert torch.equal(getattr(ordered, name), getattr(conv, name)[rows])


def test_signs_of_the_outputs_pass_through_bias_and_edge(made):
    conv = made.conv(2, 4, edge=True)
    signs = torch.tensor([1.0, -1, 1, -1], dtype=torch.float64)
    turned = conv.with_signs(signs)
    for name in ("weight", "bias", "edge"):
        assert torch.equal(getattr(turned, name)[0], getattr(conv, name)[0])
        assert torch.equal(getattr(turned, name)[1], -getattr(conv, name)[1])
    assert torch.equal(turned.log_scale, conv.log_scale)


# ---- priors


def independent(made, classes, *, spread):
    """The model with latents' own priors; `spread` gives one value a channel rather than one a position."""

    def prior(channels, height, width):
        sides = (1, 1) if spread else (height, width)
        return IndependentPrior(
            mean=made.normal(classes, channels, *sides), log_scale=made.normal(classes, channels, *sides)
        )

    glow = made.glow()
    levels = (replace(glow.levels[0], split=prior(2, 2, 4)), glow.levels[1])
    return replace(glow, levels=levels, prior=prior(8, 1, 2))


@pytest.mark.parametrize("classes", [1, 4])
@pytest.mark.parametrize("spread", [True, False])
def test_priors_of_their_own(made, classes, spread):
    read = checkpoint(independent(made, classes, spread=spread))
    assert read.config.prior == "independent"
    assert read.config.num_classes == (None if classes == 1 else classes)
    assert read.model["levels.0.split.prior.mean"].shape == (classes, 2, 2, 4)
    assert read.model["prior.log_scale"].shape == (classes, 8, 1, 2)
    assert read.model["prior.log_scale"].is_contiguous()
    z = read.glow().double().encode(images(), None if classes == 1 else torch.tensor([0, 1, 3]))[0]
    assert [tuple(part.shape) for part in z] == [(3, 2, 2, 4), (3, 8, 1, 2)]


def test_classes_move_the_top_prior(made):
    glow = made.glow()
    labelled = replace(glow, prior=replace(glow.prior, class_offset=made.normal(5, 16)))
    assert checkpoint(labelled).config.num_classes == 5


# ---- layers that do not fit together


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda made, glow: replace(glow, image_size=(4, 6)), "4x6 cannot be squeezed 2 times"),
        (
            lambda made, glow: replace(
                glow, levels=(glow.levels[0], replace(glow.levels[1], steps=(made.step(8),) * 2))
            ),
            "steps of flow",
        ),
        (lambda made, glow: replace(glow, levels=(*glow.levels[:1], *glow.levels)), "cannot be squeezed 3 times"),
        (lambda made, glow: with_first_step(glow, lambda step: made.step(6)), "6 channels"),
        (lambda made, glow: with_first_step(glow, lambda step: made.step(0)), "0 channels"),
        (lambda made, glow: with_first_step(glow, lambda step: made.step(8)), "channels is 2"),
        (lambda made, glow: with_first_step(glow, lambda step: replace(step, actnorm=made.norm(5))), "(1, 5, 1, 1)"),
        (lambda made, glow: replace(glow, prior=TopPrior(mean=made.normal(7), log_scale=made.normal(8))), "(7,)"),
        (lambda made, glow: _edged(glow, "conv3", made.normal(5, 3, 3)), "(5, 3, 3)"),
        (
            lambda made, glow: with_first_step(
                glow, lambda step: replace(step, actnorm=Norm(bias=made.normal(4) * 1e300, log_scale=made.normal(4)))
            ),
            "holds NaN or infinity",
        ),
        (
            lambda made, glow: replace(independent(made, 1, spread=False), image_size=(8, 8)),
            "an image of this size needs",
        ),
        (
            lambda made, glow: replace(glow, prior=independent(made, 1, spread=False).prior),
            "unknown levels.0.split.prior",
        ),
    ],
)
def test_layers_that_do_not_fit(made, spoil, words):
    spoiled = spoil(made, made.glow())
    with pytest.raises(CheckpointError) as caught:
        checkpoint(spoiled)
    message = str(caught.value)
    assert message.startswith("file.pt: ")
    assert message.isprintable()
    assert words in message

import dataclasses

import numpy as np
import pytest
import torch

from glow_core import Glow, GlowConfig
from glow_deploy.errors import CheckpointError
from glow_deploy.folding import FoldedConv, FoldedPrior
from glow_deploy.folding.arrays import edge_map
from glow_deploy.folding.fold import fold

CONFIG = GlowConfig(image_size=(8, 8), levels=2, steps=3, width=6)
FEATURES = [
    pytest.param({"edge_bias": edges, "prior": prior, "num_classes": classes}, id=name)
    for name, edges, prior, classes in (
        ("plain", False, "conditional", None),
        ("edges", True, "conditional", None),
        ("edges-classes", True, "conditional", 3),
        ("independent", False, "independent", None),
        ("independent-classes", False, "independent", 3),
        ("all", True, "independent", 3),
    )
]
SHAPES = [
    pytest.param(
        {"image_size": size, "channels": channels, "levels": levels}, id=f"{size[0]}x{size[1]}x{channels}-L{levels}"
    )
    for size, channels, levels in [((2, 6), 1, 1), ((8, 4), 3, 2), ((8, 16), 1, 3), ((16, 32), 3, 4)]
]


def _coded(glow, x, y):
    z, log_prob = glow.encode(torch.from_numpy(x), None if y is None else torch.from_numpy(y))
    return [part.detach().numpy() for part in z], log_prob.detach().numpy()


def _disagreement(one, other):
    return max(np.abs(a - b).max() for a, b in zip([*one[0], one[1]], [*other[0], other[1]], strict=True))


def _inputs(config, count=3):
    generator = np.random.default_rng(7)
    x = generator.random((count, config.channels, *config.image_size))
    return x, None if config.num_classes is None else np.arange(count) % config.num_classes


@pytest.mark.parametrize(
    "kind",
    [
        {"coupling": "affine", "permutation": "lu"},
        {"coupling": "affine", "permutation": "plain", "bounded_scale": False},
        {"coupling": "additive", "permutation": "lu"},
    ],
    ids=["affine-lu", "unbounded-plain", "additive-lu"],
)
@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("shape", SHAPES)
def test_folded_model_is_the_model(shape, features, kind, perturbed_glow, evaluate):
    """Up to the float32 rounding of the conditioners; levels down to images of 1x3 and 1x2 pixels."""
    config = GlowConfig(**shape, **features, **kind, steps=2, width=6)
    glow = perturbed_glow(config).double()
    x, y = _inputs(config)
    folded = fold(glow)
    assert folded.latent_shapes == config.latent_shapes
    assert _disagreement(evaluate(folded, x, y), _coded(glow, x, y)) < 2e-5
    found = {name.rpartition("/")[2] for name, _ in folded.named_arrays()}
    assert ("edge" in found) == config.edge_bias


@pytest.mark.parametrize("place", ["conv1", "conv3", "split", "prior"])
def test_every_edge_counts(place, perturbed_glow, evaluate):
    """The check above can fail: take any one edge out of the folded model and it does."""
    config = dataclasses.replace(CONFIG, edge_bias=True)
    glow = perturbed_glow(config).double()
    folded = fold(glow)
    x, y = _inputs(config)
    assert _disagreement(evaluate(_without_edge(folded, place), x, y), _coded(glow, x, y)) > 1e-3


def _without_edge(folded, place):
    if place == "prior":
        middle = {name: getattr(folded.prior, name)[:, :, :1, :1] for name in ("mean", "log_scale")}
        return dataclasses.replace(folded, prior=FoldedPrior(**middle))
    first = folded.levels[0]
    if place == "split":
        level = dataclasses.replace(first, split=dataclasses.replace(first.split, edge=None))
    else:
        step = first.steps[0]
        conv = dataclasses.replace(getattr(step.conditioner, place), edge=None)
        net = dataclasses.replace(step.conditioner, **{place: conv})
        level = dataclasses.replace(first, steps=(dataclasses.replace(step, conditioner=net), *first.steps[1:]))
    return dataclasses.replace(folded, levels=(level, *folded.levels[1:]))


def test_border_tables_have_the_size_and_dtype_of_their_place(perturbed_glow):
    config = GlowConfig(image_size=(4, 16), levels=2, steps=1, width=6, edge_bias=True)
    folded = fold(perturbed_glow(config))
    assert [level.shape[1:] for level in folded.levels] == [(2, 8), (1, 4)]
    for level, rows in zip(folded.levels, (2, 1), strict=True):
        net = level.steps[0].conditioner
        assert net.conv1.edge.shape == (6, rows, 3)
        assert net.conv2.edge is None
        assert net.conv3.edge.shape == (level.shape[0], rows, 3)
        assert {net.conv1.edge.dtype, net.conv3.edge.dtype} == {np.dtype(np.float32)}
    split = folded.levels[0].split
    assert isinstance(split, FoldedConv)
    assert split.edge.shape == (12, 2, 3)
    assert split.edge.dtype == np.float64
    assert folded.prior.mean.shape == folded.prior.log_scale.shape == (1, 24, 1, 4)


def test_border_table_spreads_to_what_the_layer_adds(perturbed_glow, convolve):
    """A constant image shows the border: the layer's own convolution against the folded one with its table."""
    config = GlowConfig(image_size=(10, 16), levels=1, steps=1, width=6, edge_bias=True)
    glow = perturbed_glow(config).double()
    layer = glow.flow_levels()[0].flow_steps()[0].coupling.conditioner.conv3
    conv = fold(glow).levels[0].steps[0].conditioner.conv3
    conv.bias[6:] -= 2  # the 2 of sigmoid(h + 2) is in the bias, not in the border
    x = torch.ones(1, 6, 5, 8, dtype=torch.float64)
    assert np.abs(convolve(x.numpy(), conv) - layer(x).detach().numpy()).max() < 1e-6
    spread = edge_map(conv.edge, 5, 8)
    assert np.count_nonzero(spread[:, 1:-1, 1:-1]) == 0
    assert all(spread[:, row, column].any() for row, column in ((0, 0), (0, 4), (4, 7), (2, 0), (2, 7)))


def test_an_edge_that_adds_nothing_is_left_out():
    torch.manual_seed(0)
    fresh = Glow(dataclasses.replace(CONFIG, edge_bias=True))
    torch.manual_seed(0)
    folded = fold(fresh)
    assert folded.model_id() == fold(Glow(CONFIG)).model_id()
    assert folded.prior.mean.shape == (1, 24, 1, 1)
    fresh.flow_levels()[0].split.prior.edge.data[3, 1, 1] = 1.0  # never over the border
    assert fold(fresh).model_id() == folded.model_id()
    fresh.flow_levels()[0].split.prior.edge.data[3, 1, 2] = 1.0
    assert fold(fresh).model_id() != folded.model_id()


def test_folded_priors_are_copies(perturbed_glow):
    config = dataclasses.replace(CONFIG, prior="independent")
    glow = perturbed_glow(config).double()
    folded = fold(glow)
    before = folded.model_id()
    glow.prior.mean.data += 1
    glow.flow_levels()[0].split.prior.log_scale.data += 1
    assert folded.model_id() == before


@pytest.mark.parametrize(
    ("coupling", "num_classes", "model_id"),
    [
        ("affine", None, "f478ba661007aa6599e3fb564352a82ed5e96d3a7267b9591028bcdb54cbc4fc"),
        ("additive", 3, "fcd94916db7d3af6490a3de2a8989f9ba504166eaae81f694e91eaa753571b03"),
    ],
)
def test_model_id_is_that_of_earlier_releases(coupling, num_classes, model_id):
    """Bundles and baselines written before there were edges and independent priors still match their models."""
    config = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=6, coupling=coupling, num_classes=num_classes)
    assert fold(_fixed_glow(config)).model_id() == model_id


def _fixed_glow(config):
    """Weights that no random number generator has a part in."""
    glow = Glow(config)
    count = 0
    for parameter in glow.parameters():
        values = torch.arange(count, count + parameter.numel()) * 7919 % 1009
        parameter.data.copy_(((values - 504) / 4096).reshape(parameter.shape))
        count += parameter.numel()
    for name, buffer in glow.named_buffers():
        if name.endswith(".permutation"):
            buffer.copy_(torch.eye(len(buffer)).flip(0))
        elif name.endswith(".sign"):
            buffer.copy_(torch.where(torch.arange(len(buffer)) % 3 == 0, -1.0, 1.0))
    return glow


@pytest.mark.parametrize("permutation", ["lu", "plain", "shuffle", "reverse"])
def test_decode_convolution_inverts_the_encode_convolution(permutation, perturbed_glow):
    folded = fold(perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=3, width=6, permutation=permutation)))
    for level in folded.levels:
        for step in level.steps:
            there, back = step.encode.weight[:, :, 0, 0], step.decode.weight[:, :, 0, 0]
            assert there.dtype == np.float64
            assert np.abs(back @ there - np.eye(len(there))).max() < 1e-12
            assert np.abs(back @ step.encode.bias + step.decode.bias).max() < 1e-11


def test_log_det_is_that_of_the_actnorms_and_1x1_convolutions(perturbed_glow):
    glow = perturbed_glow(CONFIG).double()
    expected = 0.0
    for level, (_, height, width) in zip(glow.flow_levels(), CONFIG.level_shapes, strict=True):
        for step in level.flow_steps():
            matrix = step.permutation.matrix().detach()
            expected += height * width * float(step.actnorm.log_scale.detach().sum() + torch.linalg.slogdet(matrix)[1])
    assert abs(fold(glow).log_det - expected) < 1e-9


def test_conditioner_is_folded_to_float32_rounding(perturbed_glow):
    glow = perturbed_glow(CONFIG).double()
    coupling = glow.flow_levels()[1].flow_steps()[2].coupling
    net = fold(glow).levels[1].steps[2].conditioner
    x = torch.rand(2, 12, 2, 2, dtype=torch.float64)

    def conv(x, part, pad):
        weight, bias = torch.from_numpy(part.weight).double(), torch.from_numpy(part.bias).double()
        return torch.nn.functional.conv2d(x, weight, bias, padding=pad)

    h = conv(torch.relu(conv(torch.relu(conv(x, net.conv1, 1)), net.conv2, 0)), net.conv3, 1)
    expected = coupling.conditioner(x)
    expected[:, 12:] += 2
    assert float((h - expected).detach().abs().max()) < 1e-6


def test_model_id_tells_models_apart_and_knows_its_own(perturbed_glow):
    glow = perturbed_glow(CONFIG)
    same = fold(glow.double()).model_id()
    assert fold(perturbed_glow(CONFIG)).model_id() == same
    glow.prior.mean.data[0] += 1e-3
    assert fold(glow).model_id() != same


def test_a_singular_1x1_is_refused_with_its_place(perturbed_glow):
    glow = perturbed_glow(GlowConfig(image_size=(8, 8), levels=2, steps=3, width=6, permutation="plain"))
    glow.flow_levels()[1].flow_steps()[0].permutation.weight.data.zero_()
    with pytest.raises(CheckpointError, match="level 2 step 1"):
        fold(glow)


def test_scales_beyond_float32_are_refused_with_their_place(perturbed_glow):
    glow = perturbed_glow(CONFIG)
    glow.flow_levels()[0].flow_steps()[1].coupling.conditioner.norm2.log_scale.data[0, 3] = 95.0
    with pytest.raises(CheckpointError, match="level1/step02/coupling/conv2"):
        fold(glow)


def test_an_edge_or_a_prior_beyond_float32_is_refused_with_its_place(perturbed_glow):
    glow = perturbed_glow(dataclasses.replace(CONFIG, edge_bias=True))
    glow.flow_levels()[1].flow_steps()[0].coupling.conditioner.edge1.data[2, 0, 0] = 3e38
    glow.flow_levels()[1].flow_steps()[0].coupling.conditioner.norm1.log_scale.data[:] = 2.0
    with pytest.raises(CheckpointError, match="level2/step01/coupling/conv1/edge"):
        fold(glow)
    glow = perturbed_glow(dataclasses.replace(CONFIG, prior="independent")).double()
    glow.flow_levels()[0].split.prior.mean.data[0, 1, 2, 3] = 1e39
    with pytest.raises(CheckpointError, match="level1/split/mean"):
        fold(glow)

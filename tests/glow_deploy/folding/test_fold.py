import numpy as np
import pytest
import torch

from glow_core import GlowConfig
from glow_deploy.errors import CheckpointError
from glow_deploy.folding.fold import fold

CONFIG = GlowConfig(image_size=(8, 8), levels=2, steps=3, width=6)


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

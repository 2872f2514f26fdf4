"""The float64 reference holds float32 conditioner weights; its results must be those of the whole model in float64."""

import itertools

import numpy as np
import pytest
import torch

from glow_core import GlowConfig
from glow_core.flows.conditioner import Conditioner
from glow_deploy.export.reference import TrainedReference

CASES = list(itertools.product(["affine", "additive"], ["lu", "plain", "shuffle"], [None, 3]))


@pytest.mark.parametrize(("coupling", "permutation", "classes"), CASES)
def test_the_reference_is_the_model_in_float64_to_the_bit(perturbed_glow, coupling, permutation, classes):
    config = GlowConfig(
        image_size=(8, 16), levels=2, steps=2, width=12, coupling=coupling, permutation=permutation, num_classes=classes
    )
    glow = perturbed_glow(config)
    x = np.random.default_rng(0).random((3, 3, 8, 16), dtype=np.float32)
    y = None if classes is None else np.array([0, 2, 1])
    coded = TrainedReference(glow).code("fp64", x, y)
    assert next(glow.parameters()).dtype == torch.float32
    double = glow.double()
    labels = None if y is None else torch.from_numpy(y)
    with torch.no_grad():
        z, log_prob = double.encode(torch.from_numpy(x).double(), labels)
        x_hat = double.decode(z, labels)
    assert all(
        got.dtype == np.float64 and np.array_equal(got, part.numpy()) for got, part in zip(coded.z, z, strict=True)
    )
    assert np.array_equal(coded.log_prob, log_prob.numpy())
    assert np.array_equal(coded.x_hat, x_hat.numpy())


def test_the_yardstick_is_float32_whatever_the_caller_allows(perturbed_glow):
    glow = perturbed_glow(GlowConfig(image_size=(8, 8), levels=1, steps=1, width=8))
    seen = []
    read = lambda *_: seen.append(torch.backends.mkldnn.conv.fp32_precision)  # noqa: E731
    next(module for module in glow.modules() if isinstance(module, Conditioner)).register_forward_pre_hook(read)
    reference, before = TrainedReference(glow), torch.backends.mkldnn.conv.fp32_precision
    x = np.full((1, 3, 8, 8), 0.5, np.float32)
    try:
        torch.backends.mkldnn.conv.fp32_precision = "bf16"
        reference.encode_again(reference.code("fp32", x, None))
        reference.sample_images(1, temperature=1.0, seed=0, y=None)
    finally:
        torch.backends.mkldnn.conv.fp32_precision = before
    assert seen == ["ieee"] * 4  # encode, decode, encode again, sample

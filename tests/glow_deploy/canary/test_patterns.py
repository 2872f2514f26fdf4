from __future__ import annotations

import numpy as np
import pytest
import torch

from glow_deploy.canary import make_canary
from glow_deploy.canary.patterns import float32_error, predict

CANARY = make_canary()
KINDS = sorted(CANARY.weights)


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_pattern_is_the_exact_convolution(kind):
    exact = predict(CANARY, kind)[0]
    weight = torch.tensor(CANARY.weights[kind]).double()
    expected = torch.nn.functional.conv2d(torch.tensor(CANARY.images).double(), weight, padding=weight.shape[2] // 2)
    assert (exact.mode, exact.rounding) == ("fp32", "")
    assert exact.values == pytest.approx(expected.numpy(), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_every_pattern_is_another_result_and_each_format_begins_with_rounding_to_nearest(kind):
    patterns = list(predict(CANARY, kind))
    assert len({(pattern.mode, pattern.rounding) for pattern in patterns}) == len(patterns)
    assert len({pattern.values.tobytes() for pattern in patterns}) == len(patterns)
    modes = list(dict.fromkeys(pattern.mode for pattern in patterns))
    assert modes[0] == "fp32"
    for mode in modes[1:]:
        first = next(pattern for pattern in patterns if pattern.mode == mode)
        assert first.rounding == "activations to nearest, weights to nearest"


@pytest.mark.parametrize("kind", KINDS)
def test_plain_float32_errs_by_about_what_is_expected_of_it(kind):
    weight = CANARY.weights[kind]
    columns = weight[0].size
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, columns)).astype(np.float32)
    w = rng.normal(size=columns).astype(np.float32)
    total = np.zeros(len(x), np.float32)
    for column, factor in zip(x.T, w, strict=True):
        total += column * factor
    exact = x.astype(np.float64) @ w.astype(np.float64)
    rms = np.sqrt(np.square(total - exact).mean() / np.square(exact).mean())
    assert 0.5 < rms / float32_error(CANARY, kind) < 2.5

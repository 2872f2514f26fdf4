from __future__ import annotations

import numpy as np
import pytest
import torch

from glow_core.training.sampler import ShuffledSampler, dequantize, derive_seed


@pytest.mark.parametrize(("length", "batch_size"), [(10, 4), (7, 7), (5, 12), (64, 1), (3, 2)])
def test_every_epoch_holds_each_image_once(length: int, batch_size: int) -> None:
    sampler = ShuffledSampler(length, batch_size=batch_size, seed=3)
    stream = np.concatenate([sampler.batch(step) for step in range(1, 5 * length + 1)])
    epochs = [stream[start : start + length] for start in range(0, len(stream) - length + 1, length)]
    assert all(sorted(epoch.tolist()) == list(range(length)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs[:4]}) > 1
    assert all(len(sampler.batch(step)) == batch_size for step in (1, 9, 2))


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    one, other = (ShuffledSampler(50, batch_size=8, seed=seed) for seed in (1, 2))
    forward = [one.batch(step).tolist() for step in range(1, 30)]
    fresh = ShuffledSampler(50, batch_size=8, seed=1)
    assert [fresh.batch(step).tolist() for step in range(29, 0, -1)] == forward[::-1]
    assert [other.batch(step).tolist() for step in range(1, 30)] != forward


def test_derived_seeds_differ() -> None:
    seeds = {
        derive_seed(seed, purpose, index) for seed in (0, 1) for purpose in ("noise", "order") for index in range(99)
    }
    assert len(seeds) == 2 * 2 * 99
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.parametrize("n_bits", [1, 5, 8])
def test_dequantised_values_keep_their_pixel(n_bits: int) -> None:
    pixels = np.arange(2**n_bits, dtype=np.uint8).reshape(-1, 1, 1, 1)
    largest = torch.full(pixels.shape, 1 - 2**-24)
    for noise in (torch.zeros(pixels.shape), largest, torch.full(pixels.shape, 0.5)):
        x = dequantize(pixels, noise, n_bits=n_bits)
        assert x.dtype == torch.float32
        assert (torch.floor(x * 2**n_bits).numpy() == pixels).all()
        assert float(x.max()) < 1
    # The control: without care the largest noise rounds up to the next pixel value.
    assert float(torch.tensor(255.0) + largest.flatten()[0]) == 256.0


def test_noise_is_uniform() -> None:
    noise = torch.rand(20_000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    x = dequantize(np.zeros((20_000, 1, 1, 1), np.uint8), noise, n_bits=8) * 256
    assert float(x.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(x.var()) == pytest.approx(1 / 12, abs=0.003)

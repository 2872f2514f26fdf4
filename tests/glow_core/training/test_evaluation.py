"""Likelihoods and samples of a model between its steps."""

from __future__ import annotations

import numpy as np
import pytest
from training_toys import toy_images

from glow_core import load_checkpoint
from glow_core.model import Glow
from glow_core.training import dataset_bits_per_dim
from glow_core.training.evaluation import draw_pixels


def test_sample_grids(run) -> None:
    _, result, _, grids = run
    assert [step for step, _ in grids] == [80, 120]
    pixels = grids[-1][1]
    assert (pixels.dtype, pixels.shape) == (np.uint8, (4, 1, 8, 8))
    assert pixels.max() < 32
    again, bad = draw_pixels(load_checkpoint(result.checkpoint), 4, temperature=0.7, seed=0)
    assert bad == 0
    assert np.array_equal(again, pixels)


def test_non_finite_draws_are_left_out_and_counted(run, monkeypatch) -> None:
    sample = Glow.sample

    def broken(self, n, **options):
        x = sample(self, n, **options)
        x[1, 0, 2, 3] = float("nan")
        return x

    monkeypatch.setattr(Glow, "sample", broken)
    pixels, bad = draw_pixels(load_checkpoint(run[1].checkpoint), 4, temperature=0.7, seed=0)
    assert (len(pixels), bad) == (3, 1)


def test_validation_does_not_depend_on_the_batch_size(run) -> None:
    model, images = load_checkpoint(run[1].checkpoint), toy_images(40, seed=1)
    values = [dataset_bits_per_dim(model, images, batch_size=size) for size in (1, 7, 40)]
    assert values == pytest.approx([values[0]] * 3, abs=1e-6)
    assert abs(dataset_bits_per_dim(model, images, seed=1) - values[0]) > 1e-5
    order = np.arange(40)[::-1].copy()
    assert dataset_bits_per_dim(model, images, indices=order) == pytest.approx(values[0], abs=1e-6)

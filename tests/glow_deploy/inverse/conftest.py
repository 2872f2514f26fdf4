"""A small perturbed model with its gradients, and pictures for it."""

from __future__ import annotations

import numpy as np
import pytest

from glow_core import GlowConfig
from glow_deploy.engines.pytorch_gradient import open_model_gradient

CONFIG = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5)
CLASSES = GlowConfig(image_size=(8, 8), channels=1, levels=2, steps=2, width=8, n_bits=5, num_classes=3)


@pytest.fixture(scope="session")
def model(perturbed_glow):
    return open_model_gradient(perturbed_glow(CONFIG))


@pytest.fixture(scope="session")
def exact_model(perturbed_glow):
    """The same in float64, for finite differences."""
    return open_model_gradient(perturbed_glow(CONFIG), precision="fp64")


@pytest.fixture(scope="session")
def model_of_classes(perturbed_glow):
    return open_model_gradient(perturbed_glow(CLASSES))


@pytest.fixture
def pictures():
    """Three, uint8 [3, 3, 8, 8]."""
    return np.random.default_rng(3).integers(40, 216, (3, 3, 8, 8), dtype=np.uint8)


@pytest.fixture
def hole():
    """A box of 4x3 pixels, bool [8, 8]."""
    mask = np.zeros((8, 8), bool)
    mask[2:6, 3:6] = True
    return mask


class Spoiled:
    """A model whose gradients are not finite wherever `when` says so of the latents' largest number."""

    def __init__(self, model, when):
        self._model, self._when = model, when
        self.encoder, self.decoder = model.encoder, model.decoder
        self.spoiled = 0

    def decode_gradient(self, z, y, slope):
        x, gradients = self._model.decode_gradient(z, y, slope)
        largest = np.max([np.abs(level.reshape(len(level), -1)).max(axis=1) for level in z], axis=0)
        rows = self._when(largest)
        self.spoiled += int(rows.sum())
        x = np.where(rows[:, None, None, None], np.inf, x)
        return x, gradients

    def log_prob_gradient(self, x, y):
        return self._model.log_prob_gradient(x, y)


@pytest.fixture
def spoil():
    return Spoiled

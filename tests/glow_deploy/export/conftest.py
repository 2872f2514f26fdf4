from __future__ import annotations

import pytest

from glow_core import GlowConfig, save_checkpoint

CONFIG = GlowConfig(image_size=(8, 8), levels=2, steps=2, width=8, n_bits=5)


@pytest.fixture
def checkpoint(perturbed_glow, tmp_path):
    path = tmp_path / "ckpt.pt"
    save_checkpoint(perturbed_glow(CONFIG), path)
    return path

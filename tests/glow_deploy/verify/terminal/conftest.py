from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.verify import VerifySettings, verify


@pytest.fixture(scope="module")
def report(sound):
    return verify(sound.bundle, settings=VerifySettings(backends=("onnxruntime-cpu",), random_draws=4))


@pytest.fixture
def spoilt(spoil, sound):
    """A decoder weight 2 % off: samples and round trips are wrong on every pair that decodes with it."""

    def off(name, array, role):
        return array * np.float32(1.02) if name.endswith("level1/step02/coupling/conv2/weight") else None

    bundle = spoil(off, roles=("decoder",))
    return verify(bundle, settings=VerifySettings(ckpt=sound.ckpt, random_draws=0))

from __future__ import annotations

import pytest

from glow_deploy.verify import VerifySettings, verify


@pytest.fixture(scope="module")
def report(sound):
    return verify(sound.bundle, settings=VerifySettings(ckpt=sound.ckpt, random_draws=4))

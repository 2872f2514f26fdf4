from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from glow_deploy.inverse.likelihood import image_bits_per_dim
from glow_deploy.inverse.projection import ProjectSettings, project

QUICK = ProjectSettings(noise=0.1, steps=50, draws=2)


@pytest.mark.parametrize("over", ["latents", "pixels"])
def test_the_result_is_likelier_and_not_far(model, pictures, over):
    found = project(model, pictures, settings=replace(QUICK, over=over))
    assert found.values.shape == pictures.shape
    assert (found.after < found.before).all()
    assert (found.distance > 0).all()
    assert (found.distance < 0.2).all()
    np.testing.assert_allclose(found.after, image_bits_per_dim(model.encoder, found.values), atol=0.1)

from __future__ import annotations

import numpy as np
import pytest
from linear_flow import LinearFlow, pictures

from glow_deploy.errors import UsageError
from glow_deploy.latents import (
    EncodeSettings,
    class_log_prob,
    class_posterior,
    encode_images,
)


def test_the_best_class_and_labels_exclude_each_other():
    settings = EncodeSettings(best_class=True)
    with pytest.raises(UsageError, match="leave one of them out"):
        encode_images(LinearFlow("encoder", classes=True), pictures(2), settings=settings, labels=[0, 1])
    with pytest.raises(UsageError, match="not class-conditional"):
        encode_images(LinearFlow("encoder"), pictures(2), settings=settings)
    with pytest.raises(UsageError, match="needs an encoder"):
        class_log_prob(LinearFlow("decoder", classes=True), [])


def test_posteriors_follow_bayes_rule():
    log_prob = np.log([[0.2, 0.2, 0.4], [1.0, 1.0, 1.0]]) - 5000.0
    np.testing.assert_allclose(class_posterior(log_prob), [[0.25, 0.25, 0.5], [1 / 3] * 3])

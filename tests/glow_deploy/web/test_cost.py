"""What rounding costs is measured, and a coarse rounding would show."""

from __future__ import annotations

import numpy as np
import onnx

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.web import cost


def test_the_cost_is_small_and_not_nothing(bundle):
    opened = Bundle.open(bundle)
    found = cost.measure_weights(opened, opened.golden())
    assert (found.n, found.exact_images, found.exact_images_before) == (6, 6, 6)
    assert 0 < found.bits_largest < 1e-3
    assert abs(found.bits_change) <= found.bits_largest
    assert 0 < found.max_steps < 0.5


def test_a_rounding_that_differs_between_the_directions_is_seen(bundle, monkeypatch):
    def coarse(encoder, decoder):
        model = onnx.load_from_string(encoder)
        for tensor in model.graph.initializer:
            array = onnx.numpy_helper.to_array(tensor)
            if tensor.name.endswith("invconv/weight"):
                tensor.raw_data = (array + 0.05 * np.sign(array)).astype(np.float32).tobytes()
        return model.SerializeToString(), decoder

    monkeypatch.setattr(cost, "rounded_pair", coarse)
    opened = Bundle.open(bundle)
    found = cost.measure_weights(opened, opened.golden())
    assert found.exact_images < found.exact_images_before == 6
    assert found.max_steps > 0.5

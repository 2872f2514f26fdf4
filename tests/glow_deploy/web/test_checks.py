"""What a browser has to compute is what `encode` says of samples, with little room beside it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import UnsoundModelError
from glow_deploy.web import checks
from glow_deploy.web.checks import check_images


@pytest.mark.parametrize("rounded", [False, True])
def test_limits_are_near_the_yardstick(rounded, bundle):
    opened = Bundle.open(bundle)
    found = check_images(opened, rounded=rounded)
    yardstick = opened.manifest.numerics.yardstick.bits_per_dim.max
    assert found.values.shape == (2, 3, 8, 8)
    assert found.values.dtype == np.uint8
    assert len(np.unique(found.values)) > 8
    assert yardstick < found.bits_limit < 2e-5
    assert found.lost_limit == 0
    np.testing.assert_array_equal(check_images(opened, rounded=rounded).values, found.values)


def test_the_references_are_those_of_encode_and_a_wrong_weight_lies_beyond_the_limits(bundle, monkeypatch):
    from glow_deploy.engines.pair import open_pair
    from glow_deploy.latents import EncodeSettings, encode_images

    found = check_images(Bundle.open(bundle), rounded=False)
    with open_pair(bundle, device="cpu") as (encoder, _):
        wanted = encode_images(encoder, found.values, settings=EncodeSettings(draws=1)).bits_per_dim_centre
    assert abs(found.bits - wanted).max() < found.bits_limit / 2

    def wrong(*graphs):
        models = [onnx.load_from_string(data) for data in graphs]
        for model in models:  # both directions alike, so that every pixel comes back
            weight = next(t for t in model.graph.initializer if t.name == "level1/step01/coupling/conv3/weight")
            weight.raw_data = (onnx.numpy_helper.to_array(weight) * np.float32(1.02)).tobytes()
        return [model.SerializeToString() for model in models]

    monkeypatch.setattr(checks, "rounded_pair", wrong)
    assert abs(check_images(Bundle.open(bundle), rounded=True).bits - wanted).max() > 10 * found.bits_limit


def test_classes_take_turns_and_16_bit_has_its_own_limits(make_bundle):
    found = check_images(Bundle.open(make_bundle("check-classes", num_classes=3)), rounded=False)
    np.testing.assert_array_equal(found.labels, [0, 1])
    mixed = check_images(Bundle.open(make_bundle("check-mixed", precision="mixed")), rounded=False)
    assert found.bits_limit < mixed.bits_limit <= 1e-2
    assert found.lost_limit == 0 < mixed.lost_limit <= 0.02 * mixed.values.size


def test_without_golden_images_the_ceiling_is_the_limit(make_bundle):
    assert check_images(Bundle.open(make_bundle("check-bare", golden=None)), rounded=False).bits_limit <= 1e-3


def test_a_model_without_a_likelihood_of_its_samples_is_refused(bundle, monkeypatch):
    opened = Bundle.open(bundle)

    class Lost:
        def __init__(self, engine):
            self.engine = engine

        def __getattr__(self, name):
            return getattr(self.engine, name)

        def __enter__(self):
            return self

        def __exit__(self, *error):
            self.engine.close()

        def run(self, feeds):
            out = self.engine.run(feeds)
            return {name: value * np.nan if name == "log_prob" else value for name, value in out.items()}

    open_onnx = checks.open_onnx
    monkeypatch.setattr(checks, "open_onnx", lambda data, **options: Lost(open_onnx(data, **options)))
    with pytest.raises(UnsoundModelError, match="no finite likelihood"):
        check_images(opened, rounded=False)

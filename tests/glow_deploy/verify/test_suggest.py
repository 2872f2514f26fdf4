from __future__ import annotations

from types import SimpleNamespace

import pytest

from glow_deploy.verify.suggest import suggest


def suggested(*, coupling="affine", bounded=True, lost=0, finite=True, kappa=None, error=0.0, images=True):
    """Suggestions for a model of 5 bits, whose half pixel step is 1/64."""
    manifest = SimpleNamespace(model={"coupling": coupling, "bounded_scale": bounded}, n_bits=5)
    yardstick = SimpleNamespace(x_hat=SimpleNamespace(max=error))
    steps = [SimpleNamespace(step="level1/step01", kappa=3.0), SimpleNamespace(step="level2/step04", kappa=kappa)]
    return list(
        suggest(
            manifest,
            [SimpleNamespace(yardstick=yardstick)] if images else [],
            [SimpleNamespace(x_error=SimpleNamespace(finite=finite))],
            [SimpleNamespace(encode="a", decode="a", lost=lost), SimpleNamespace(encode="a", decode="b", lost=9)],
            budget=None if kappa is None else SimpleNamespace(steps=steps),
        )
    )


def test_a_sound_model_gets_no_advice():
    assert suggested() == []
    assert suggested(kappa=1000.0, error=1 / 640) == []
    assert suggested(images=False) == []


@pytest.mark.parametrize("trouble", [{"lost": 1}, {"finite": False}])
def test_draws_are_lost_by_scales_without_a_bound(trouble):
    (line,) = suggested(bounded=False, **trouble)
    assert "--bounded-scale" in line
    assert suggested(bounded=True, **trouble) == []
    assert suggested(bounded=False, coupling="additive", **trouble) == []
    assert suggested(bounded=False) == []


def test_the_worst_1x1_convolution_is_named():
    (line,) = suggested(kappa=1234.0)
    assert "level2/step04 has condition number 1.2e+03" in line
    assert "--conditioning-penalty" in line


def test_an_error_near_half_a_pixel_step_asks_for_a_smaller_gain():
    (line,) = suggested(error=1 / 256)
    assert "reaches 25% of half a pixel step" in line
    assert "--inverse-penalty" in line

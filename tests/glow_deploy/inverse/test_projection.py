from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.inverse.likelihood import psnr
from glow_deploy.inverse.projection import ProjectSettings, project

QUICK = ProjectSettings(noise=0.1, steps=50, draws=2)


def test_less_noise_stays_nearer(model, pictures):
    near, far = (project(model, pictures, settings=replace(QUICK, noise=noise)) for noise in (0.02, 0.2))
    assert (near.distance < far.distance).all()
    assert (near.after > far.after).all()


def test_hardly_any_noise_gives_the_picture_back(model, pictures):
    found = project(model, pictures, settings=replace(QUICK, noise=0.001))
    np.testing.assert_array_equal(found.values >> 3, pictures >> 3)
    assert found.distance.max() == 0


def test_the_models_own_samples_lose_their_noise(exact_model):
    from glow_deploy.images import x_to_values
    from glow_deploy.latents import SampleSettings, concatenate_samples, sample

    drawn = concatenate_samples(sample(exact_model.decoder, count=8, settings=SampleSettings(temperature=0.7)))
    clean = x_to_values(drawn.x, 5)
    spread = np.random.default_rng(1).normal(size=clean.shape) * 0.1 * 255
    noisy = np.clip(np.rint(clean + spread), 0, 255).astype(np.uint8)
    found = project(exact_model, noisy, settings=QUICK)
    assert psnr(found.values, clean).mean() > psnr(noisy, clean).mean()


class Blind:
    """A model whose encoder has lost its way: the latents and the likelihood of every image are NaN."""

    def __init__(self, model):
        self._model, self.decoder = model, model.decoder
        self.encoder = self

    def __getattr__(self, name):
        return getattr(self._model.encoder, name)

    def run(self, feeds):
        return {name: np.full_like(array, np.nan) for name, array in self._model.encoder.run(feeds).items()}

    def decode_gradient(self, z, y, slope):
        return self._model.decode_gradient(z, y, slope)

    def log_prob_gradient(self, x, y):
        value, gradient = self._model.log_prob_gradient(x, y)
        return np.full_like(value, np.nan), gradient


def test_an_image_that_cannot_be_encoded_is_approached_from_zero(model, pictures):
    found = project(Blind(model), pictures, settings=QUICK)
    seen = project(model, pictures, settings=QUICK)
    assert np.isinf(found.before).all()
    np.testing.assert_allclose(found.distance, seen.distance, rtol=0.3)
    with pytest.raises(UnsoundModelError, match="optimise over latents"):
        project(Blind(model), pictures, settings=replace(QUICK, over="pixels"))


def test_batches_change_nothing_but_rounding(model, pictures):
    whole, parts = (project(model, pictures, settings=replace(QUICK, batch=batch)) for batch in (16, 2))
    np.testing.assert_allclose(whole.distance, parts.distance, rtol=0.05)


def test_classes(model_of_classes, pictures):
    grey = pictures[:, :1]
    found = [project(model_of_classes, grey, settings=QUICK, labels=[label] * 3) for label in (0, 1)]
    assert (found[0].after != found[1].after).all()
    with pytest.raises(UsageError, match="say which class"):
        project(model_of_classes, grey, settings=QUICK)


def test_pictures_that_do_not_fit(model):
    with pytest.raises(DataError, match="the model takes"):
        project(model, np.zeros((1, 3, 8, 4), np.uint8))


@pytest.mark.parametrize(
    "wrong", [{"noise": 0}, {"noise": -1}, {"noise": np.nan}, {"prior": 0}, {"over": "hope"}, {"steps": 0}]
)
def test_settings_are_checked(wrong):
    with pytest.raises(UsageError):
        ProjectSettings(**wrong)

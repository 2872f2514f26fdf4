from dataclasses import replace

import numpy as np
import pytest

from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.inverse.gradient_model import ExampleGradient
from glow_deploy.inverse.inpainting import InpaintSettings, inpaint
from glow_deploy.inverse.likelihood import image_bits_per_dim

QUICK = InpaintSettings(samples=2, steps=30, draws=1)


@pytest.mark.parametrize("over", ["latents", "pixels"])
def test_known_pixels_are_those_given_and_missing_ones_are_never_looked_at(model, pictures, hole, over):
    settings = replace(QUICK, over=over)
    found = inpaint(model, pictures, hole, settings=settings)
    assert found.values.shape == (3, 2, 3, 8, 8)
    np.testing.assert_array_equal(found.values[..., ~hole], np.repeat(pictures[:, None], 2, axis=1)[..., ~hole])
    assert found.known_error.max() < 1.0
    blank = np.where(hole, np.uint8(0), pictures)
    again = inpaint(model, blank, hole, settings=settings)
    np.testing.assert_array_equal(found.values, again.values)
    assert (found.values[..., hole] != 0).any()


def test_what_is_filled_in_is_likelier_than_what_is_made_up(model, pictures, hole):
    found = inpaint(model, pictures, hole, settings=replace(QUICK, temperature=0, samples=1, draws=4))
    noisy = np.where(hole, np.random.default_rng(9).integers(0, 256, pictures.shape, dtype=np.uint8), pictures)
    made_up = image_bits_per_dim(model.encoder, noisy)
    assert (found.bits_per_dim[:, 0] < made_up).all()


@pytest.mark.slow
def test_the_likeliest_image_is_likelier_than_the_likeliest_latents(model, pictures, hole):
    latents, pixels = (
        inpaint(model, pictures, hole, settings=replace(QUICK, temperature=0, samples=1, over=over, draws=8))
        for over in ("latents", "pixels")
    )
    assert (pixels.bits_per_dim <= latents.bits_per_dim + 0.02).all()


def test_a_sample_depends_on_the_seed_and_its_number_alone(model, pictures, hole):
    found = inpaint(model, pictures[:1], hole, settings=QUICK)
    again = inpaint(model, pictures[:1], hole, settings=QUICK)
    np.testing.assert_array_equal(found.values, again.values)
    one = inpaint(model, pictures[:1], hole, settings=replace(QUICK, samples=1))
    one_by_one = inpaint(model, pictures[:1], hole, settings=replace(QUICK, batch=1))
    for other, samples in ((one, 1), (one_by_one, 2)):  # another batch rounds otherwise, but the fill is the same one
        difference = np.abs(other.values.astype(int) - found.values[:, :samples])
        assert np.median(difference[..., hole]) <= 8
    other_seed = inpaint(model, pictures[:1], hole, settings=replace(QUICK, seed=1))
    assert (other_seed.values != found.values).any()
    assert (found.values[0, 0] != found.values[0, 1]).any()


def test_at_temperature_zero_all_fills_are_one(model, pictures, hole):
    found = inpaint(model, pictures[:1], hole, settings=replace(QUICK, temperature=0))
    np.testing.assert_array_equal(found.values[0, 0], found.values[0, 1])


def test_the_fills_of_a_linear_flow_are_draws_from_its_posterior():
    """Its pixels are independent with the mean 0.5 and the standard deviation 1/4, times the temperature."""
    values = np.full((1, 1, 8, 8), 255, np.uint8)
    missing = np.ones((8, 8), bool)
    missing[0] = False
    model = ExampleGradient(size=(8, 8), n_bits=8)
    for temperature in (0.3, 0.6):
        settings = InpaintSettings(samples=40, temperature=temperature, draws=1, batch=64)
        fills = inpaint(model, values, missing, settings=settings).values[..., missing] / 256
        # 2240 numbers: the standard error of a standard deviation is 1.5 %.
        np.testing.assert_allclose(fills.std(), temperature / 4, rtol=0.08)
        np.testing.assert_allclose(fills.mean(), 0.5, atol=0.02)


def test_masks_of_their_own_for_each_image(model, pictures, hole):
    other = np.zeros((8, 8), bool)
    other[0] = True
    pictures, masks = pictures[:2], np.stack([hole, other])
    for over in ("latents", "pixels"):
        found = inpaint(model, pictures, masks, settings=replace(QUICK, over=over))
        np.testing.assert_array_equal(found.missing, masks)
        for row in range(2):
            known = ~masks[row]
            np.testing.assert_array_equal(found.values[row, 0][:, known], pictures[row][:, known])


@pytest.mark.slow
def test_steps_into_non_finite_decodes_are_counted_and_the_result_is_finite(model, pictures, hole, spoil):
    pictures = pictures[:1]
    whole = inpaint(model, pictures, hole, settings=QUICK)
    assert whole.nonfinite.sum() == 0
    spoiled = spoil(model, lambda largest: largest > 2.0)
    found = inpaint(spoiled, pictures, hole, settings=QUICK)
    assert found.nonfinite.sum() > 0
    # The start is drawn beyond the wall, so that it is brought back first.
    assert found.nonfinite.sum() == spoiled.spoiled
    np.testing.assert_array_equal(found.values[:, 0][..., ~hole], pictures[..., ~hole])


def test_a_model_that_decodes_nothing_is_unsound(model, pictures, hole, spoil):
    with pytest.raises(UnsoundModelError, match="starting points do not decode"):
        inpaint(spoil(model, lambda largest: largest > -1), pictures, hole, settings=QUICK)


def test_classes(model_of_classes, pictures, hole):
    grey = pictures[:2, :1]
    found = [inpaint(model_of_classes, grey, hole, settings=QUICK, labels=[label] * 2) for label in (0, 2)]
    assert (found[0].values != found[1].values).any()
    with pytest.raises(UsageError, match="say which class"):
        inpaint(model_of_classes, grey, hole, settings=QUICK)
    with pytest.raises(DataError, match="no class 3"):
        inpaint(model_of_classes, grey, hole, settings=QUICK, labels=[0, 3])


def test_progress_ends_at_the_total(model, pictures, hole):
    told = []
    inpaint(
        model,
        pictures,
        hole,
        settings=replace(QUICK, batch=4),
        progress=lambda done, total: told.append((done, total)),
    )
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (60, 60)


@pytest.mark.parametrize(
    ("values", "missing", "words"),
    [
        (np.zeros((1, 3, 8, 4), np.uint8), np.ones((8, 8), bool), "the model takes"),
        (np.zeros((0, 3, 8, 8), np.uint8), np.ones((8, 8), bool), "the model takes"),
        (np.zeros((1, 3, 8, 8), np.float32), np.ones((8, 8), bool), "uint8"),
        (np.zeros((1, 3, 8, 8), np.uint8), np.ones((8, 4), bool), "a mask must be"),
        (np.zeros((1, 3, 8, 8), np.uint8), np.ones((8, 8), int), "a mask must be"),
        (np.zeros((1, 3, 8, 8), np.uint8), np.zeros((8, 8), bool), "nothing is missing"),
    ],
)
def test_bad_input(model, values, missing, words):
    with pytest.raises(DataError, match=words):
        inpaint(model, values, missing, settings=QUICK)


@pytest.mark.parametrize(
    "wrong",
    [
        {"samples": 0},
        {"steps": 2},
        {"temperature": -1},
        {"temperature": np.nan},
        {"prior": 0},
        {"over": "hope"},
        {"seed": -1},
        {"batch": 0},
    ],
)
def test_settings_are_checked(wrong):
    with pytest.raises(UsageError):
        InpaintSettings(**wrong)

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
from linear_encoder import DIMS, IMAGE, N_BITS, LinearEncoder, pictures

from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.images import bits_per_dim, pixels_to_x, values_to_pixels
from glow_deploy.latents import EncodeSettings, PictureBatch, dequantisation, encode_images
from glow_deploy.scoring import score as scoring
from glow_deploy.scoring.score import HeldOut, ScoreSettings, concatenate_scores, score_images, score_stream


def bright(x: np.ndarray) -> np.ndarray:
    """Spoils pictures that are white all over."""
    return x.reshape(len(x), -1).min(axis=1) > 0.9


def test_figures_are_the_formulas():
    engine, values = LinearEncoder(), pictures(6)
    found = score_images(engine, values, settings=ScoreSettings(draws=3, seed=7, batch=4))
    pixels = values_to_pixels(values, N_BITS)
    log_prob, squares = np.zeros(6), np.zeros((6, 2))
    for draw in range(3):
        u = dequantisation(7, np.arange(6), IMAGE, draw=draw)
        z, density = engine.formula((pixels + u) / 2**N_BITS)
        log_prob += density / 3
        squares += np.stack([(z[:, :8] ** 2).mean(axis=1), (z[:, 8:] ** 2).mean(axis=1)], axis=1) / 3
    np.testing.assert_allclose(found.log_prob, log_prob, rtol=1e-6)
    np.testing.assert_allclose(found.bits_per_dim, N_BITS - log_prob / (DIMS * math.log(2)), rtol=1e-6)
    np.testing.assert_allclose(found.level_squares, squares, rtol=1e-5)
    centre = engine.formula(pixels_to_x(pixels, N_BITS))[1]
    np.testing.assert_allclose(found.bits_per_dim_centre, bits_per_dim(centre, dims=DIMS, n_bits=N_BITS), rtol=1e-6)
    assert found.finite.all()
    assert found.labels is None
    assert found.names == tuple("012345")


def test_the_same_figures_as_encode():
    engine, values = LinearEncoder(), pictures(5)
    scored = score_images(engine, values, settings=ScoreSettings(draws=4, seed=3))
    encoded = encode_images(engine, values, settings=EncodeSettings(draws=4, seed=3))
    np.testing.assert_allclose(scored.bits_per_dim, encoded.bits_per_dim, rtol=1e-12)
    np.testing.assert_array_equal(scored.bits_per_dim_centre, encoded.bits_per_dim_centre)


@pytest.mark.parametrize("batch", [1, 2, 5, 100])
def test_the_batch_size_changes_nothing(batch):
    whole = score_images(LinearEncoder(), pictures(7), settings=ScoreSettings(draws=2))
    parts = score_images(LinearEncoder(), pictures(7), settings=ScoreSettings(draws=2, batch=batch))
    np.testing.assert_allclose(parts.log_prob, whole.log_prob, rtol=1e-6)
    np.testing.assert_allclose(parts.level_squares, whole.level_squares, rtol=1e-6)


def test_one_batch_at_a_time():
    engine = LinearEncoder()
    asked = []

    def batches():
        for number in range(4):
            asked.append(number)
            yield PictureBatch(values=pictures(3, number))

    stream = score_stream(engine, batches(), settings=ScoreSettings(draws=1))
    next(stream)
    assert asked == [0]
    next(stream)
    assert asked == [0, 1]
    assert set(engine.batches) == {3}


def test_labels_and_the_best_class():
    engine, values = LinearEncoder(classes=3), pictures(8)
    each = np.stack(
        [score_images(engine, values, labels=[label] * 8).log_prob for label in range(3)],
        axis=1,
    )
    found = score_images(engine, values, settings=ScoreSettings(best_class=True))
    np.testing.assert_array_equal(found.labels, each.argmax(axis=1))
    np.testing.assert_allclose(found.log_prob, each.max(axis=1), rtol=1e-6)
    assert len(set(found.labels.tolist())) > 1
    with pytest.raises(UsageError, match="say which class"):
        score_images(engine, values)
    with pytest.raises(UsageError, match="leave one of them out"):
        score_images(engine, values, settings=ScoreSettings(best_class=True), labels=[0] * 8)
    with pytest.raises(UsageError, match="leave labels= out"):
        score_images(LinearEncoder(), values, labels=[0] * 8)
    with pytest.raises(UsageError, match='leave labels="best" out'):
        score_images(LinearEncoder(), values, settings=ScoreSettings(best_class=True))


def test_a_picture_the_encoder_overflows_on_is_marked_and_leaves_the_others_alone():
    values = pictures(5)
    values[[1, 3]] = 255
    found = score_images(LinearEncoder(spoil=bright), values)
    assert found.finite.tolist() == [True, False, True, False, True]
    assert np.isnan(found.bits_per_dim).tolist() == [False, True, False, True, False]
    sound = score_images(LinearEncoder(), values)
    np.testing.assert_array_equal(found.bits_per_dim[found.finite], sound.bits_per_dim[found.finite])


def test_the_best_class_of_what_overflows():
    values = pictures(3)
    values[1] = 255
    found = score_images(
        LinearEncoder(classes=2, spoil=bright), values, settings=ScoreSettings(best_class=True, draws=1)
    )
    assert found.finite.tolist() == [True, False, True]


def test_bad_input():
    with pytest.raises(DataError, match=r"pictures are \[3, 4, 4\]"):
        score_images(LinearEncoder(), np.zeros((2, 3, 4, 4), np.uint8))
    with pytest.raises(DataError, match="no pictures to score"):
        score_images(LinearEncoder(), pictures(0))
    with pytest.raises(UsageError, match="2 names were given for 3"):
        score_images(LinearEncoder(), pictures(3), names=["a", "b"])
    for options, words in (({"draws": 0}, "draws"), ({"batch": 0}, "batch"), ({"seed": -1}, "seed")):
        with pytest.raises(UsageError, match=words):
            ScoreSettings(**options)
    decoder = LinearEncoder()
    decoder.role = "decoder"
    with pytest.raises(UsageError, match="scoring needs an encoder"):
        score_images(decoder, pictures(1))
    with pytest.raises(DataError, match="no pictures"):
        concatenate_scores([])


def test_typicality_is_the_distance_from_the_mean():
    bits = np.array([2.0, 2.5, 3.0, 4.5])
    reference = HeldOut(source="r", bits_per_dim=bits)
    assert (reference.mean, reference.deviation) == (3.0, pytest.approx(bits.std(ddof=1)))
    np.testing.assert_array_equal(
        reference.typicality(np.array([3.0, 1.0, 5.0, np.nan, np.inf])), [0, 2, 2, np.inf, np.inf]
    )


def test_the_p_value_is_the_share_of_the_reference_as_far_out_or_farther():
    rng = np.random.default_rng(0)
    bits = rng.normal(size=57)
    reference = HeldOut(source="r", bits_per_dim=bits)
    distances = np.abs(bits - bits.mean())
    asked = np.concatenate([rng.normal(size=20) * 3, bits[:3], [np.nan, np.inf]])
    wanted = []
    for value in asked:
        far = np.inf if math.isnan(value) else abs(value - bits.mean())
        wanted.append((1 + (distances >= far).sum()) / 58)
    np.testing.assert_array_equal(reference.p_value(asked), wanted)


def test_the_p_value_calls_the_share_it_says_an_anomaly():
    rng = np.random.default_rng(1)
    reference = HeldOut(source="r", bits_per_dim=rng.gamma(5, size=2000))
    p = reference.p_value(rng.gamma(5, size=20000))
    for level in (0.01, 0.05, 0.5):
        assert (p <= level).mean() == pytest.approx(level, rel=0.35)
    assert (reference.p_value(rng.gamma(5, size=2000) + 20) <= 0.01).all(), "a foreign set is told"


def test_a_reference_needs_finite_images():
    with pytest.raises(UnsoundModelError, match="1 of 3 reference images"):
        HeldOut(source="r", bits_per_dim=np.array([1.0, np.nan, 2.0]))
    with pytest.raises(DataError, match="at least 2 images, r gave 1"):
        HeldOut(source="r", bits_per_dim=np.array([1.0]))


def test_likelier_is_not_more_typical():
    """Pictures all alike are the likeliest under this model, yet no picture of its own looks like them."""
    engine = LinearEncoder()
    rng = np.random.default_rng(0)
    z = rng.normal(size=(400, DIMS))
    own_x = (np.linalg.solve(engine.a, z.T).T * 0.4 + 0.5).clip(0, 0.999).reshape(-1, *IMAGE)
    own = (np.floor(own_x * 32) * 255 / 31).round().astype(np.uint8)
    grey = np.full((200, *IMAGE), 128, np.uint8)
    reference = HeldOut(source="own", bits_per_dim=score_images(engine, own[:200]).bits_per_dim)
    likely, foreign = (score_images(engine, values).bits_per_dim for values in (own[200:], grey))
    assert foreign.max() < likely.min(), "likelier than every one of the model's own"
    assert np.median(reference.p_value(foreign)) < np.median(reference.p_value(likely))


def test_doctests():
    found = doctest.testmod(scoring)
    assert (found.failed, found.attempted >= 3) == (0, True)


@pytest.mark.parametrize(
    ("labels", "best_class"),
    [([0, 1, 2], False), ([0, 1, 2, 3], False), ([[0]] * 4, False), (None, False), ([0, 1, 2, 0], True)],
)
def test_bad_labels_are_refused_before_the_encoder_runs(labels, best_class):
    engine = LinearEncoder(classes=3)
    settings = ScoreSettings(best_class=best_class)
    with pytest.raises((DataError, UsageError)):
        score_images(engine, np.zeros((4, *IMAGE), np.uint8), settings=settings, labels=labels)
    assert engine.batches == []

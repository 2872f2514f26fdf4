from __future__ import annotations

import math

import numpy as np
import pytest
from linear_flow import CLASSES, DIMS, IMAGE, N_BITS, SHAPES, LinearFlow, flat, pictures

from glow_deploy.errors import DataError, UnsoundModelError
from glow_deploy.images import bits_per_dim, pixels_to_x
from glow_deploy.latents import (
    EncodeSettings,
    PictureBatch,
    decode_latents,
    dequantisation,
    encode_images,
    encode_stream,
    noise,
)


def test_encode_figures():
    values = pictures()
    latents = encode_images(LinearFlow("encoder"), values, settings=EncodeSettings(batch=4, draws=3, seed=5))
    assert latents.names == tuple("012345678")
    exact = LinearFlow("encoder", dtype="float64")
    x = pixels_to_x(values >> 3, N_BITS)
    want = exact.run({"x": x.astype(float)})
    np.testing.assert_allclose(
        flat(latents.z), np.concatenate([want["z1"].reshape(9, -1), want["z2"].reshape(9, -1)], 1), rtol=1e-6
    )
    np.testing.assert_allclose(latents.log_prob, want["log_prob"], rtol=1e-6)
    np.testing.assert_allclose(latents.bits_per_dim_centre, N_BITS - want["log_prob"] / (DIMS * math.log(2)), rtol=1e-6)
    mean = 0.0
    for draw in range(3):
        noisy = pixels_to_x(values >> 3, N_BITS, u=dequantisation(5, np.arange(9), IMAGE, draw=draw))
        mean = mean + bits_per_dim(exact.run({"x": noisy.astype(float)})["log_prob"], dims=DIMS, n_bits=N_BITS) / 3
    np.testing.assert_allclose(latents.bits_per_dim, mean, rtol=1e-6)
    assert np.abs(latents.bits_per_dim - latents.bits_per_dim_centre).max() > 1e-4


def test_encoding_does_not_depend_on_the_batches():
    values = pictures()
    one = encode_images(LinearFlow("encoder"), values, settings=EncodeSettings(batch=100))
    parts = list(encode_stream(LinearFlow("encoder"), (PictureBatch(values=values[i : i + 2]) for i in range(0, 9, 2))))
    np.testing.assert_allclose(np.concatenate([part.bits_per_dim for part in parts]), one.bits_per_dim, rtol=1e-6)
    tail = encode_images(LinearFlow("encoder"), values[4:], start=4)
    np.testing.assert_allclose(tail.bits_per_dim, one.bits_per_dim[4:], rtol=1e-6)
    # Control: other noise gives another figure.
    shifted = encode_images(LinearFlow("encoder"), values[4:], start=0)
    assert np.abs(shifted.bits_per_dim - one.bits_per_dim[4:]).max() > 1e-4
    assert encode_images(LinearFlow("encoder"), values, settings=EncodeSettings(draws=0)).bits_per_dim is None


def test_encode_then_decode_gives_the_pixels_back():
    values = pictures()
    latents = encode_images(LinearFlow("encoder", classes=True), values, labels=np.arange(9))
    decoded = decode_latents(LinearFlow("decoder", classes=True), latents.z, labels=latents.labels, batch=4)
    assert decoded.finite.all()
    np.testing.assert_allclose(decoded.x, pixels_to_x(values >> 3, N_BITS), atol=1e-5)
    wrong = decode_latents(LinearFlow("decoder", classes=True), latents.z, labels=np.zeros(9, np.int64))
    assert np.abs(wrong.x - decoded.x)[1:].max() > 0.01


@pytest.mark.parametrize("draws", [0, 4])
def test_the_best_class_has_the_lowest_bits_per_dim(draws):
    values, engine = pictures(), LinearFlow("encoder", classes=True)
    engine.b -= 5  # so that the classes around 4 are the likely ones
    best = encode_images(engine, values, settings=EncodeSettings(draws=draws, best_class=True, batch=4))
    figure = "bits_per_dim" if draws else "bits_per_dim_centre"
    each = [
        getattr(encode_images(engine, values, settings=EncodeSettings(draws=draws), labels=[label] * 9), figure)
        for label in range(CLASSES)
    ]
    assert best.labels.tolist() == np.argmin(each, axis=0).tolist()
    assert len(set(best.labels.tolist())) > 1
    np.testing.assert_allclose(getattr(best, figure), np.min(each, axis=0), rtol=1e-6)
    np.testing.assert_allclose(bits_per_dim(best.class_log_prob, dims=DIMS, n_bits=N_BITS).T, each, rtol=1e-5)


def test_other_classes_at_decoding_move_the_pictures():
    latents = encode_images(LinearFlow("encoder", classes=True), pictures(), labels=np.arange(9))
    engine = LinearFlow("decoder", classes=True)
    moved = (
        decode_latents(engine, latents.z, labels=[3] * 9).x - decode_latents(engine, latents.z, labels=np.arange(9)).x
    )
    for row in range(9):
        step = np.linalg.solve(engine.a, np.full(DIMS, row - 3.0)).reshape(IMAGE)
        np.testing.assert_allclose(moved[row], step, atol=1e-5)


def test_decode_marks_non_finite_rows():
    z = noise(0, np.arange(50), SHAPES)
    decoded = decode_latents(LinearFlow("decoder", spoil=lambda z: z[:, 0] > 1), z)
    np.testing.assert_array_equal(decoded.finite, flat(z)[:, 0] <= 1)
    assert 0 < decoded.finite.sum() < 50


def test_what_does_not_fit_is_refused():
    with pytest.raises(DataError, match=r"pictures are \[3, 4, 4\]"):
        encode_images(LinearFlow("encoder"), np.zeros((1, 3, 4, 4), np.uint8))
    with pytest.raises(DataError, match="no pictures"):
        encode_images(LinearFlow("encoder"), np.zeros((0, *IMAGE), np.uint8))
    with pytest.raises(DataError, match="do not fit this model"):
        decode_latents(LinearFlow("decoder"), noise(0, [0], SHAPES)[:1])
    for labels, message in (
        ([0, -1], "no class -1"),
        ([9, 0], "no class 9"),
        ([0], "2 whole numbers"),
        ([0.0, 1.0], "2 whole numbers"),
    ):
        engine = LinearFlow("encoder", classes=True)
        with pytest.raises(DataError, match=message):
            encode_images(engine, pictures(2), settings=EncodeSettings(batch=1), labels=np.array(labels))
        assert engine.batches == []


def test_non_finite_encoding_is_unsound():
    engine = LinearFlow("encoder")
    engine.b[0] = np.inf
    with pytest.raises(UnsoundModelError, match=r"z1 of b\.png is not finite"):
        encode_images(engine, pictures(1), names=["b.png"])

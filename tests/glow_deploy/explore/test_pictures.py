from __future__ import annotations

import base64
import io

import numpy as np
import pytest

from glow_deploy.explore.pictures import difference_picture, latent_picture, picture_uri


def rgba(uri):
    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))).convert("RGBA"))


def test_latents_are_coloured_around_zero():
    z = np.array([-9.0, -3.0, 0.0, 3.0, 9.0, 1.0]).reshape(6, 1, 1)
    for theme in ("light", "dark"):
        uri, width, height = latent_picture(z, theme=theme)
        pixels = rgba(uri)
        assert pixels.shape == (height, width, 4)
        tiles = [pixels[10, 10 + 67 * channel].tolist() for channel in range(6)]
        assert tiles[0] == tiles[1] != tiles[2] != tiles[3] == tiles[4]
        assert tiles[0][2] > tiles[0][0]  # blue below zero
        assert tiles[3][0] > tiles[3][2]  # orange above
        assert max(tiles[2][:3]) - min(tiles[2][:3]) < 20  # grey at zero
        assert pixels[10, 65, 3] == 0  # the gaps show the page
    assert rgba(latent_picture(z, theme="light")[0])[10, 140, 0] > 200 > 60 > rgba(uri)[10, 140, 0]


@pytest.mark.parametrize("shape", [(1, 1, 1), (6, 8, 8), (24, 4, 4), (192, 2, 2), (12, 128, 128), (3, 200, 10)])
def test_every_channel_has_a_tile(shape):
    uri, width, _ = latent_picture(np.random.default_rng(0).normal(size=shape), theme="light")
    pixels = rgba(uri)
    scale = max(1, round(64 / max(shape[1:])))
    assert (pixels[..., 3] == 255).sum() == shape[0] * shape[1] * shape[2] * scale**2
    assert width <= max(720, shape[2] * scale)


def test_differences_are_enlarged_to_a_round_scale():
    x = np.full((3, 4, 4), 0.5, np.float32)
    x_hat = x.astype(np.float64)
    x_hat[0, 0, 0] += 3e-5 / 32
    found = difference_picture(x_hat, x, n_bits=5)
    assert found.full_scale == pytest.approx(5e-5)
    assert rgba(found.uri)[0, 0, :3].tolist() == [128 + 76, 128, 128]
    assert rgba(found.uri)[1, 1, :3].tolist() == [128] * 3
    assert difference_picture(x, x, n_bits=5).full_scale is None


@pytest.mark.parametrize("lost", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_magenta(lost):
    x = np.full((1, 4, 4), 0.5, np.float32)
    x_hat = x.copy()
    x_hat[0, 1, 2] = lost
    pixels = rgba(difference_picture(x_hat, x, n_bits=8).uri)
    assert pixels[1, 2].tolist() == [255, 0, 255, 255]
    assert (pixels[..., 1] == 128).sum() == 15
    assert rgba(picture_uri(np.zeros((1, 2, 2), np.uint8), np.ones((1, 2, 2), bool)))[0, 0].tolist() == [
        255,
        0,
        255,
        255,
    ]

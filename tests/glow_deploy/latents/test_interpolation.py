from __future__ import annotations

import doctest
from collections.abc import Mapping

import numpy as np
import pytest

from glow_deploy.errors import DataError, UnsoundModelError, UsageError
from glow_deploy.images import pixels_to_x, values_to_pixels
from glow_deploy.latents import interpolation
from glow_deploy.latents.interpolation import InterpolationSettings, interpolate_images
from glow_deploy.protocol import EngineDetails, TensorSpec

N_BITS = 5


class Rotation:
    """A flow that only turns: z = Q (x - 0.5) + class; an engine outside, float64 inside."""

    def __init__(self, role, *, classes=None, spoil=None):
        size = 3 * 4 * 4
        self.q = np.linalg.qr(np.random.default_rng(0).normal(size=(size, size)))[0]
        self.role, self.n_bits, self.num_classes = role, N_BITS, classes
        self.spoil = spoil or (lambda z: np.zeros(len(z), bool))
        self.labels: list[list[int]] = []
        zs = tuple(TensorSpec(name=f"z{i}", dtype="float32", shape=s) for i, s in enumerate([(6, 2, 2), (24, 1, 1)], 1))
        x = (TensorSpec(name="x", dtype="float32", shape=(3, 4, 4)),)
        y = (TensorSpec(name="y", dtype="int64", shape=()),) if classes else ()
        log_prob = (TensorSpec(name="log_prob", dtype="float32", shape=()),)
        self.inputs, self.outputs = (x + y, zs + log_prob) if role == "encoder" else (zs + y, x)
        self.details = EngineDetails(
            backend="rotation", provider="numpy", device="cpu", precision="fp64", tf32=False, versions={}
        )

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        n = len(next(iter(feeds.values())))
        shift = feeds["y"][:, None] * 0.3 if "y" in feeds else 0.0
        if "y" in feeds:
            self.labels.append(feeds["y"].tolist())
        if self.role == "encoder":
            z = (feeds["x"].reshape(n, -1).astype(float) - 0.5) @ self.q.T + shift
            log_prob = -0.5 * (z**2).sum(axis=1)
            return {
                "z1": z[:, :24].reshape(n, 6, 2, 2).astype(np.float32),
                "z2": z[:, 24:].reshape(n, 24, 1, 1).astype(np.float32),
                "log_prob": log_prob.astype(np.float32),
            }
        z = np.concatenate([feeds[name].reshape(n, -1) for name in ("z1", "z2")], axis=1).astype(float)
        x = (z - shift) @ self.q + 0.5
        x[self.spoil(z)] = np.nan
        return {"x": x.reshape(n, 3, 4, 4).astype(np.float32)}

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(9).integers(0, 256, (count, 3, 4, 4), dtype=np.uint8)


@pytest.mark.parametrize(("count", "mode"), [(2, "linear"), (2, "spherical"), (4, "linear"), (4, "spherical")])
def test_ends_decode_to_their_own_pixels(count, mode):
    values = pictures(count)
    settings = InterpolationSettings(steps=5, mode=mode, batch=3)
    found = interpolate_images(Rotation("encoder"), Rotation("decoder"), values, settings=settings)
    assert len(found) == (5 if count == 2 else 25)
    assert found.columns == 5
    assert found.ends_exact.tolist() == [True] * count
    assert found.finite.all()
    assert found.labels is None
    shown = values_to_pixels(found.pictures(), N_BITS)
    corners = [0, 4] if count == 2 else [0, 4, 20, 24]
    np.testing.assert_array_equal(shown[corners], values_to_pixels(values, N_BITS))


def test_linear_through_a_linear_flow_fades():
    values = pictures(2)
    found = interpolate_images(
        Rotation("encoder"), Rotation("decoder"), values, settings=InterpolationSettings(steps=3)
    )
    x = pixels_to_x(values_to_pixels(values, N_BITS), N_BITS)
    np.testing.assert_allclose(found.x[1], x.mean(axis=0), atol=1e-6)


def test_the_class_is_that_of_the_nearest_end():
    encoder, decoder = Rotation("encoder", classes=5), Rotation("decoder", classes=5)
    values = pictures(4)
    found = interpolate_images(encoder, decoder, values[:2], settings=InterpolationSettings(steps=5), labels=[3, 1])
    assert encoder.labels == [[3, 1]]
    assert found.labels.tolist() == [3, 3, 3, 1, 1]
    assert decoder.labels == [[3, 3, 3, 1, 1]]
    assert found.ends_exact.all()
    found = interpolate_images(encoder, decoder, values, settings=InterpolationSettings(steps=4), labels=[0, 1, 2, 3])
    assert found.labels.reshape(4, 4).tolist() == [[0, 0, 1, 1], [0, 0, 1, 1], [2, 2, 3, 3], [2, 2, 3, 3]]
    assert found.ends_exact.all()


def test_the_best_class_of_each_end():
    encoder, decoder = Rotation("encoder", classes=3), Rotation("decoder", classes=3)
    settings = InterpolationSettings(steps=2, best_class=True)
    found = interpolate_images(encoder, decoder, pictures(2), settings=settings)
    # z = u + 0.3 y, so that the class with the smallest norm is the likeliest
    assert len(found.labels) == 2
    assert found.ends_exact.all()


def test_classes_are_asked_for_and_refused():
    with pytest.raises(UsageError, match="say which class"):
        interpolate_images(Rotation("encoder", classes=2), Rotation("decoder", classes=2), pictures(2))
    with pytest.raises(UsageError, match="leave labels= out"):
        interpolate_images(Rotation("encoder"), Rotation("decoder"), pictures(2), labels=[0, 1])


def test_what_does_not_decode_is_marked_and_drawn_as_a_cross():
    calls = []

    def spoil(z):
        calls.append(len(z))
        return np.arange(len(z)) == 2

    found = interpolate_images(
        Rotation("encoder"), Rotation("decoder", spoil=spoil), pictures(2), settings=InterpolationSettings(steps=5)
    )
    assert found.finite.tolist() == [True, True, False, True, True]
    assert np.isnan(found.excess).tolist() == [False, False, True, False, False]
    cross = found.pictures()[2]
    assert sorted(set(cross.ravel().tolist())) == [128, 255]
    np.testing.assert_array_equal(cross[0], cross[0][:, ::-1])


def test_an_end_that_does_not_decode_is_an_unsound_model():
    decoder = Rotation("decoder", spoil=lambda z: np.arange(len(z)) == len(z) - 1)
    with pytest.raises(UnsoundModelError, match="picture 2 of 2 does not decode"):
        interpolate_images(Rotation("encoder"), decoder, pictures(2))


def test_values_outside_the_range_are_counted():
    """An arc between two bright pictures bulges beyond white; a straight line cannot."""
    values = np.full((2, 3, 4, 4), 255, np.uint8)
    values[0, :, :2] = values[1, :, 2:] = 128
    engines = Rotation("encoder"), Rotation("decoder")
    inside = interpolate_images(*engines, values, settings=InterpolationSettings(steps=3))
    assert inside.clipped.max() == 0
    assert inside.excess.max() == 0
    beyond = interpolate_images(*engines, values, settings=InterpolationSettings(steps=3, mode="spherical"))
    x = beyond.x[1].astype(float)
    over = np.maximum(np.maximum(-x, x - 1), 0) * 2**N_BITS
    assert beyond.excess[1] == pytest.approx(over.max())
    assert beyond.clipped[1] == pytest.approx((over > 0.5).mean())


def test_an_end_that_comes_back_changed_is_said():
    class Off(Rotation):
        def run(self, feeds):
            return {"x": super().run(feeds)["x"] + 0.6 * 2.0**-N_BITS}

    found = interpolate_images(Rotation("encoder"), Off("decoder"), pictures(2))
    assert found.ends_exact.tolist() == [False, False]


def test_the_number_of_pictures_and_the_roles():
    encoder, decoder = Rotation("encoder"), Rotation("decoder")
    with pytest.raises(DataError, match="3 pictures were given"):
        interpolate_images(encoder, decoder, pictures(3))
    with pytest.raises(UsageError, match="needs an encoder"):
        interpolate_images(decoder, encoder, pictures(2))
    with pytest.raises(UsageError, match="needs a decoder"):
        interpolate_images(encoder, encoder, pictures(2))


def test_the_batch_is_checked():
    with pytest.raises(UsageError, match="batch"):
        InterpolationSettings(batch=0)


def test_doctests():
    assert doctest.testmod(interpolation).failed == 0
    assert doctest.testmod(interpolation).attempted >= 4

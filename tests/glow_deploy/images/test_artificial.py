from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.errors import DataError
from glow_deploy.images.artificial import stress_images
from glow_deploy.verify.matrix.images import check_bin_centres

SHAPES = [(1, 28, 28), (3, 16, 16), (3, 8, 12), (2, 4, 4)]


@pytest.mark.parametrize("n_bits", [1, 5, 8])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_image_is_a_valid_input(shape, n_bits):
    for name, x in stress_images(shape, n_bits=n_bits, n=3, seed=0).items():
        assert x.dtype == np.float32, name
        assert x.shape[1:] == shape, name
        assert 1 <= len(x) <= 3, name
        assert 0 <= x.min() <= x.max() < 1, name
        check_bin_centres(x, n_bits=n_bits, where=name)


def test_the_same_arguments_give_the_same_images():
    first, again, other = (stress_images((1, 8, 8), n_bits=8, n=2, seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(first[name], again[name]) for name in first)
    fixed = {name for name in first if np.array_equal(first[name], other[name])}
    assert fixed == {"constant-0", "constant-mid", "constant-max", "checkerboard-1", "checkerboard-2"}


def test_kinds_are_what_their_names_say():
    made = {name: np.floor(x * 256).astype(int) for name, x in stress_images((3, 8, 8), n_bits=8, n=64, seed=0).items()}
    assert [set(made[f"constant-{word}"].ravel()) for word in ("0", "mid", "max")] == [{0}, {128}, {255}]
    for side in (1, 2):
        first, second = made[f"checkerboard-{side}"]
        assert np.array_equal(first + second, np.full((3, 8, 8), 255))
        assert first[0, 0, 0] == first[2, side - 1, side - 1] != first[0, 0, side]
    assert set(made["rademacher"].ravel()) == {0, 255}
    assert made["uniform"].mean() == pytest.approx(127.5, abs=2)
    assert made["gaussian"].std() == pytest.approx(64, rel=0.1)
    assert all(image.max() > image.min() for image in made["strokes"])
    assert all(image.min() == 0 and image.max() == 255 for image in made["gradients"])


def test_spoilt_images_are_the_golden_ones_but_for_what_was_done():
    golden = ((np.random.default_rng(0).integers(20, 200, (5, 3, 16, 16)) + 0.5) / 256).astype(np.float32)
    made = stress_images((3, 16, 16), n_bits=8, n=7, seed=0, golden=golden)
    base = golden[np.arange(7) % 5]
    hot = (made["hot-pixel"] != base).any(axis=1).reshape(7, -1).sum(axis=1)
    assert hot.tolist() == [1] * 7
    spoilt = (made["salt-and-pepper"] != base).all(axis=1).mean()
    assert 0.06 < spoilt < 0.14
    assert np.allclose(made["negative"] + base, 1.0)


def test_golden_images_of_another_model_are_refused():
    with pytest.raises(DataError, match=r"\[2, 1, 8, 8\].*3, 8, 8"):
        stress_images((3, 8, 8), n_bits=8, n=2, seed=0, golden=np.zeros((2, 1, 8, 8), np.float32))

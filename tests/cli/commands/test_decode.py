from __future__ import annotations

import numpy as np
import pytest

from glow_deploy.images import read_picture


@pytest.fixture
def latents(model, invoke, pictures, place):
    assert invoke("encode", model.bundle, *pictures, "--out", place / "z.npz").exit_code == 0
    return place / "z.npz"


def test_one_latent_gives_the_picture_itself(model, invoke, pictures, place):
    assert invoke("encode", model.bundle, pictures[0], "--out", "one.npz").exit_code == 0
    result = invoke("decode", model.bundle, "one.npz", "--out", "x.png")
    assert result.exit_code == 0, result.output
    assert "wrote x.png" in result.output
    decoded = read_picture(place / "x.png", size=(8, 8), channels=3)
    assert invoke("decode", model.bundle, "one.npz", "--out", "folder").exit_code == 0
    (alone,) = (place / "folder").iterdir()
    assert np.array_equal(decoded, read_picture(alone, size=(8, 8), channels=3))


def test_several_latents_give_a_grid(model, invoke, latents, place):
    assert invoke("decode", model.bundle, latents, "-o", "grid.png").exit_code == 0
    from PIL import Image

    with Image.open(place / "grid.png") as picture:
        assert picture.size == (2 * (8 * 8 + 2) + 2, 2 * (8 * 8 + 2) + 2)  # 2x2 cells, each pixel shown as 8x8


def test_other_suffixes_are_refused_before_the_work(model, invoke, latents):
    result = invoke("decode", model.bundle, latents, "--out", "x.jpg")
    assert (result.exit_code, "name a .png file or a folder" in result.stderr) == (2, True)


def test_rows_that_are_not_finite_leave_no_picture(model, invoke, latents, place):
    with np.load(latents) as archive:
        arrays = dict(archive)
    arrays["z2"][1] = 3e38
    np.savez(place / "bad.npz", **arrays)
    result = invoke("decode", model.bundle, "bad.npz", "--out", "some.png")
    assert (result.exit_code, "not finite: 1" in result.output) == (0, True)
    arrays["z2"][:] = 3e38
    np.savez(place / "bad.npz", **arrays)
    result = invoke("decode", model.bundle, "bad.npz", "--out", "none.png")
    assert (result.exit_code, "none of the 3 latents" in result.stderr) == (2, True)
    assert not (place / "none.png").exists()

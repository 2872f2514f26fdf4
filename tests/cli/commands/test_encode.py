from __future__ import annotations

import json

import numpy as np
from PIL import Image

from glow_deploy.images import read_picture, write_png


def n_bits_deep(values):
    """8-bit values as they come back from a 5-bit model."""
    return np.round((values >> 3).astype(np.float64) * 255 / 31).astype(np.uint8)


def test_pictures_come_back_exactly(invoke, model, pictures, place):
    result = invoke("encode", *pictures, "--engine", model.encoder)
    assert result.exit_code == 0, result.output
    with np.load(place / "latents.npz") as latents:
        assert {"z1", "z2", "log_prob", "bits_per_dim", "names"} <= set(latents)
        assert latents["z1"].shape == (3, 6, 4, 4)
    assert invoke("decode", "latents.npz", "--engine", model.decoder).exit_code == 0
    for path in pictures:
        assert np.array_equal(read_picture(place / "decoded" / path.name), n_bits_deep(read_picture(path)))


def test_the_comparison_can_fail(invoke, model, pictures, place):
    invoke("encode", *pictures, "--engine", model.encoder)
    with np.load(place / "latents.npz") as latents:
        arrays = dict(latents)
    arrays["z2"] = arrays["z2"] * 0.5
    np.savez(place / "latents.npz", **arrays)
    assert invoke("decode", "latents.npz", "--engine", model.decoder).exit_code == 0
    path = pictures[0]
    assert not np.array_equal(read_picture(place / "decoded" / path.name), n_bits_deep(read_picture(path)))


def test_reported_bits_per_dim_average_over_noise(invoke, model, pictures, place):
    found = {}
    for draws in (0, 8):
        result = invoke("encode", pictures[0], "--engine", model.encoder, "--draws", draws, "--json", "-")
        (found[draws],) = json.loads(result.stdout)["images"]
    assert found[0]["bits_per_dim"] is None
    assert found[0]["bits_per_dim_centre"] == found[8]["bits_per_dim_centre"]
    assert found[8]["bits_per_dim"] != found[8]["bits_per_dim_centre"]


def test_a_wrong_size_is_refused_unless_resized(invoke, model, place):
    write_png(place / "large.png", np.zeros((3, 12, 16), np.uint8))
    result = invoke("encode", "large.png", "--engine", model.encoder)
    assert result.exit_code == 2
    assert "16x12" in result.stderr
    assert "--resize" in result.stderr
    assert not (place / "latents.npz").exists()
    assert invoke("encode", "large.png", "--engine", model.encoder, "--resize").exit_code == 0


def test_transparency_is_refused_unless_it_may_be_laid_over_white(invoke, model, place):
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(place / "clear.png")
    Image.new("RGBA", (8, 8), (255, 255, 255, 255)).save(place / "white.png")
    result = invoke("encode", "clear.png", "--engine", model.encoder)
    assert result.exit_code == 2
    assert "clear.png is transparent in places" in result.stderr
    assert "pass --resize to lay it over white" in result.stderr
    assert not (place / "latents.npz").exists()
    assert invoke("encode", "clear.png", "white.png", "--engine", model.encoder, "--resize").exit_code == 0
    with np.load(place / "latents.npz") as latents:
        assert latents["log_prob"][0] == latents["log_prob"][1]
    assert invoke("encode", "white.png", "--engine", model.encoder).exit_code == 0


def test_folders_stand_for_the_pictures_in_them(invoke, model, pictures, place):
    result = invoke("encode", pictures[0].parent, "--engine", model.encoder, "--json", "-")
    names = [image["name"] for image in json.loads(result.stdout)["images"]]
    assert names == sorted(map(str, pictures))
    (place / "none").mkdir()
    assert invoke("encode", "none", "--engine", model.encoder).exit_code == 2


def test_latents_of_another_model_are_refused(invoke, model, place):
    np.savez(place / "other.npz", z1=np.zeros((1, 6, 4, 4), np.float32))
    result = invoke("decode", "other.npz", "--engine", model.decoder)
    assert result.exit_code == 2
    assert "z2" in result.stderr
    assert not (place / "decoded").exists()

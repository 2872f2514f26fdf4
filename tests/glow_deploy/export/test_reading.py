"""A model that was read with the wrong options is suspected before its weights are."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from glow_core import ImportOptions, read_checkpoint, save_checkpoint
from glow_deploy import export

FILE = Path(__file__).parents[2] / "fixtures/other_projects/y0ast_affine_lu/glow_model_1.pth"
UNCONFIRMED = "the reading is unconfirmed"


@pytest.fixture
def images(tmp_path):
    """Pictures drawn from the model as it is meant to be read: multiplied by sigmoid(h + 2), images centred."""
    glow = read_checkpoint(FILE).glow()
    x = glow.sample(8, temperature=0.7, generator=torch.Generator().manual_seed(0)).detach()
    pixels = (x.clamp(0, 0.999) * 256).floor().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    np.savez(tmp_path / "images.npz", images=pixels)
    return tmp_path / "images.npz"


def notes(tmp_path, file=FILE, **options):
    bundle = export(file, out=tmp_path / "bundle", golden=4, **options)
    return " ".join(bundle.manifest.numerics.notes)


@pytest.mark.parametrize(
    ("told", "read_with"),
    [({"input_range": "unit"}, "11."), ({"scale_map": "sigmoid_plain"}, "8.")],
    ids=["input range", "scale map"],
)
def test_the_best_other_reading_is_named_with_its_bits_per_dim(tmp_path, images, told, read_with):
    said = notes(tmp_path, data=str(images), options=ImportOptions(**told))
    assert "probably read with the wrong options: images of --data have 7." in said
    assert f"not {read_with}" in said
    assert "with --scale-map sigmoid --input-range centred" in said


def test_the_right_reading_is_not_suspected(tmp_path, images):
    said = notes(tmp_path, data=str(images))
    assert "wrong options" not in said
    assert UNCONFIRMED not in said


def test_noise_is_likely_in_no_reading(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3)).astype(np.uint8)
    np.savez(tmp_path / "noise.npz", images=pixels)
    said = notes(tmp_path, data=str(tmp_path / "noise.npz"))
    assert "wrong options" not in said
    assert "no better than pixels drawn at random" in said


def test_without_images_the_reading_is_said_to_be_unconfirmed(tmp_path):
    assert UNCONFIRMED in notes(tmp_path)


def test_a_model_of_our_own_needs_no_reading(tmp_path, images, perturbed_glow):
    save_checkpoint(perturbed_glow(read_checkpoint(FILE).config), tmp_path / "ckpt.pt")
    said = notes(tmp_path, file=tmp_path / "ckpt.pt", data=str(images))
    assert "wrong options" not in said
    assert UNCONFIRMED not in said

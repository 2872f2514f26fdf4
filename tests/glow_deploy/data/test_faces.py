from pathlib import Path

import numpy as np

import glow_deploy.data
from glow_deploy.data import load_images

FOLDER = Path(glow_deploy.data.__file__).parent


def test_faces_are_distinct_and_divided():
    sets = {split: load_images("faces", split=split) for split in ("train", "validation", "test")}
    assert [len(images) for images in sets.values()] == [6000, 300, 300]
    faces = np.concatenate([images.batch(range(len(images))) for images in sets.values()])
    assert faces.shape == (6600, 3, 16, 16)
    # Distinct at the demo's 5 bits, so no held-out face was trained on.
    assert len({(face >> 3).tobytes() for face in faces}) == 6600


def test_attributes_are_named_and_common_enough_to_learn():
    images = load_images("faces", split="train")
    shares = dict(zip(images.attribute_names, images.attributes.mean(axis=0), strict=True))
    wanted = {"eyeglasses", "sunglasses", "beard", "hat", "smiling", "long_hair", "earrings", "dark_hair", "pale_skin"}
    assert wanted <= set(shares)
    assert all(0.08 < share < 0.92 for share in shares.values()), shares


def test_sunglasses_are_dark_where_the_eyes_are():
    """The tags belong to the pictures: sunglasses darken the eyes' rows."""
    images = load_images("faces", split="train")
    faces = images.batch(range(2000)).astype(np.float64)
    tagged = images.attributes[:2000, images.attribute_names.index("sunglasses")]
    eyes = faces[:, :, 5:9, 4:12].mean(axis=(1, 2, 3))
    assert eyes[tagged].mean() < eyes[~tagged].mean() - 20


def test_the_file_is_small_and_its_licence_lies_beside_it():
    assert (FOLDER / "faces.npz").stat().st_size < 2_000_000
    assert "CC0 1.0" in (FOLDER / "faces.LICENSE.md").read_text(encoding="utf-8")

from __future__ import annotations

import numpy as np
import pytest
from training_toys import toy_config, toy_images

from glow_core.errors import TrainingError
from glow_core.training import ArrayImages
from glow_core.training.data import check_images, fingerprint, read_batch, same_images, spread


def test_fingerprint_sees_pixels_labels_and_count() -> None:
    images = toy_images(60, classes=2)
    base = fingerprint(images)
    assert fingerprint(toy_images(60, classes=2)) == base
    flipped = images.labels.copy()
    flipped[5] ^= 1
    assert fingerprint(ArrayImages(pixels=images.pixels, labels=flipped)) != base
    assert fingerprint(ArrayImages(pixels=images.pixels)) != base
    assert fingerprint(ArrayImages(pixels=images.pixels[:59], labels=images.labels[:59])) != base


def test_spread_covers_the_whole_set() -> None:
    assert spread(5, 9).tolist() == [0, 1, 2, 3, 4]
    assert spread(100, 4).tolist() == [0, 25, 50, 75]
    assert spread(3, None).tolist() == [0, 1, 2]


def test_pixels_are_the_high_bits() -> None:
    pixels = np.array([0, 7, 8, 255], np.uint8).reshape(1, 1, 2, 2).repeat(4, axis=2).repeat(4, axis=3)
    found = read_batch(ArrayImages(pixels=pixels), np.array([0]), toy_config(n_bits=5))
    assert sorted(set(found.flatten().tolist())) == [0, 1, 31]


@pytest.mark.parametrize(
    ("images", "classes", "message"),
    [
        (ArrayImages(pixels=np.zeros((0, 1, 8, 8), np.uint8)), None, "no training images"),
        (ArrayImages(pixels=np.zeros((3, 1, 8, 16), np.uint8)), None, r"uint8 \(1, 1, 8, 8\)"),
        (ArrayImages(pixels=np.zeros((3, 1, 8, 8), np.float32)), None, "float32"),
        (toy_images(5), 3, "no labels"),
        (ArrayImages(pixels=toy_images(3).pixels, labels=np.array([0, 1, 3])), 3, "from 0 to 3"),
        (ArrayImages(pixels=toy_images(3).pixels, labels=np.array([0, 1])), 3, r"\(2,\)"),
    ],
)
def test_unfit_images_are_refused(images: ArrayImages, classes: int | None, message: str) -> None:
    with pytest.raises(TrainingError, match=message):
        check_images(images, toy_config(num_classes=classes), name="training")


def test_fingerprints_agree_but_for_stand_ins() -> None:
    images = toy_images(600)
    base = fingerprint(images)
    assert same_images(base, base)
    assert same_images(base, base.split(":")[0])  # as earlier releases kept it
    row = int(spread(600, 256)[7])
    changed = images.pixels.copy()
    changed[row] ^= 1
    other = fingerprint(ArrayImages(pixels=changed, labels=images.labels))
    assert not same_images(other, base)
    assert same_images(other, base, stand_ins={row})
    assert not same_images(other, base, stand_ins={row + 1})
    fewer = fingerprint(ArrayImages(pixels=images.pixels[:599]))
    assert not same_images(fewer, base, stand_ins={row})
    assert not same_images(base, "", stand_ins={row})

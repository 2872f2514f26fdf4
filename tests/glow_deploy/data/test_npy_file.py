import numpy as np
import pytest

from glow_deploy.data import load_images, open_images
from glow_deploy.data.reading import Reading
from glow_deploy.errors import DataError

VALUES = np.random.default_rng(0).integers(0, 256, (20, 4, 6, 3), dtype=np.uint8)


def test_the_file_is_mapped_and_divided(tmp_path):
    np.save(tmp_path / "a.npy", VALUES)
    opened = open_images(tmp_path / "a.npy")
    train, whole = opened.take("train"), opened.take("test")
    assert (len(train), len(opened.take("validation")), len(whole)) == (18, 2, 20)
    assert np.array_equal(whole.batch([3, 1]), VALUES[[3, 1]].transpose(0, 3, 1, 2))
    assert isinstance(whole.read.stored, np.memmap)
    assert [int(train.name(row)) for row in range(18)] == train.numbers.tolist()


def test_what_the_file_does_not_say_can_be_told(tmp_path):
    np.save(tmp_path / "a.npy", (VALUES / 255).astype(np.float32).transpose(0, 3, 1, 2))
    with pytest.raises(DataError, match='layout="nchw"'):
        load_images(tmp_path / "a.npy", split="test")
    reading = Reading(layout="nchw", float_range="unit")
    images = load_images(tmp_path / "a.npy", split="test", reading=reading)
    assert np.array_equal(images.batch([5]), VALUES[[5]].transpose(0, 3, 1, 2))


@pytest.mark.parametrize("damage", ["cut", "objects", "header"])
def test_damaged_files_are_refused(tmp_path, damage):
    path = tmp_path / "a.npy"
    np.save(path, np.array([{}], object) if damage == "objects" else VALUES, allow_pickle=True)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:500])
    elif damage == "header":
        path.write_bytes(path.read_bytes()[:20])
    with pytest.raises(DataError, match=r"a\.npy is damaged, or holds Python objects") as raised:
        load_images(path, split="test")
    assert "\n" not in str(raised.value)

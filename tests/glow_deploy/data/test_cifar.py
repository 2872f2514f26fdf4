import io
import pickle
import tarfile

import numpy as np
import pytest

from glow_deploy.data import open_images
from glow_deploy.errors import DataError

RNG = np.random.default_rng(0)
COUNT = 4
PIXELS = RNG.integers(0, 256, (6, COUNT, 3072), dtype=np.uint8)
CLASSES = RNG.integers(0, 10, (6, COUNT))
NAMES = [f"class {number}" for number in range(10)]


def _binary(hundred):
    def records(number):
        coarse = [b"\x05"] if hundred else []
        return b"".join(
            b"".join([*coarse, bytes([CLASSES[number, row]]), PIXELS[number, row].tobytes()]) for row in range(COUNT)
        )

    names = "\n".join(NAMES).encode()
    if hundred:
        return {"train.bin": records(0), "test.bin": records(5), "fine_label_names.txt": names}
    train = {f"data_batch_{number + 1}.bin": records(number) for number in range(5)}
    return {**train, "test_batch.bin": records(5), "batches.meta.txt": names}


def _pickled(hundred, protocol=2):
    key = "fine_labels" if hundred else "labels"

    def batch(number):
        held = {"data": PIXELS[number], key: CLASSES[number].tolist(), "filenames": ["x.png"] * COUNT}
        return pickle.dumps(held, protocol=protocol)

    meta = pickle.dumps({"fine_label_names" if hundred else "label_names": NAMES}, protocol=protocol)
    if hundred:
        return {"train": batch(0), "test": batch(5), "meta": meta}
    return {
        **{f"data_batch_{number + 1}": batch(number) for number in range(5)},
        "test_batch": batch(5),
        "batches.meta": meta,
    }


def _lay_out(files, place, how):
    if how == "folder":
        place.mkdir()
        for name, content in files.items():
            (place / name).write_bytes(content)
        return place
    path = place.with_suffix(".tar.gz")
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("how", ["folder", "archive"])
@pytest.mark.parametrize("hundred", [False, True])
@pytest.mark.parametrize("kind", ["binary", "pickled", "pickled anew"])
def test_images_classes_and_names(tmp_path, how, hundred, kind):
    files = _binary(hundred) if kind == "binary" else _pickled(hundred, protocol=2 if kind == "pickled" else 4)
    opened = open_images(_lay_out(files, tmp_path / "set", how))
    test = opened.take("test")
    assert (test.shape, len(test), test.class_names) == ((3, 32, 32), COUNT, tuple(NAMES))
    assert test.labels.tolist() == CLASSES[5].tolist()
    assert np.array_equal(test.batch(range(COUNT)), PIXELS[5].reshape(-1, 3, 32, 32))
    train, validation = opened.take("train"), opened.take("validation")
    assert len(train) + len(validation) == COUNT * (1 if hundred else 5)


@pytest.mark.parametrize("kind", ["binary", "pickled"])
def test_files_cut_short_are_one_clear_error(tmp_path, kind):
    files = _binary(False) if kind == "binary" else _pickled(False)
    name = "test_batch.bin" if kind == "binary" else "test_batch"
    files[name] = files[name][:-100]
    with pytest.raises(DataError, match="test_batch") as raised:
        open_images(_lay_out(files, tmp_path / "set", "folder")).take("test")
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path):
    files = _binary(False)
    del files["data_batch_3.bin"]
    with pytest.raises(DataError, match=r"there is no file data_batch_3\.bin"):
        open_images(_lay_out(files, tmp_path / "set", "folder")).take("train")

import gzip
import struct

import numpy as np
import pytest

from glow_deploy.data import class_rounds, load_images
from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import write_png

RNG = np.random.default_rng(0)
VALUES = RNG.integers(0, 256, (20, 6, 8, 3), dtype=np.uint8)


def _npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def _splits(spec, **options):
    return {split: load_images(spec, split=split, **options) for split in ("train", "validation", "test")}


def test_npz_without_splits_is_divided_once_and_for_all(tmp_path):
    path = _npz(tmp_path / "a.npz", images=VALUES, labels=np.arange(20, dtype=np.int32))
    sets = _splits(path)
    assert [len(images) for images in sets.values()] == [18, 2, 20]
    assert [images.undivided for images in sets.values()] == [False, False, True]
    assert load_images(path, split="test", limit=3).undivided
    train, validation = sets["train"].labels, sets["validation"].labels
    assert sorted([*train, *validation]) == list(range(20))
    assert np.array_equal(sets["train"].batch(range(18)), VALUES[train].transpose(0, 3, 1, 2))
    assert np.array_equal(load_images(path, split="train").labels, train)


def test_npz_with_splits_and_attributes(tmp_path):
    path = _npz(
        tmp_path / "a.npz",
        images=VALUES,
        split=np.array([0] * 10 + [1] * 4 + [2] * 6, np.uint8),
        split_names=np.array(["train", "validation", "test"]),
        attributes=np.arange(40).reshape(20, 2) % 2 == 1,
        attribute_names=np.array(["hat", "beard"]),
    )
    sets = _splits(path)
    assert [len(images) for images in sets.values()] == [10, 4, 6]
    assert not any(images.undivided for images in sets.values())
    assert np.array_equal(sets["test"].batch([5])[0], VALUES[19].transpose(2, 0, 1))
    assert sets["test"].attribute_names == ("hat", "beard")
    assert np.array_equal(sets["test"].attributes[0], [False, True])


def test_npz_that_names_only_training_and_test(tmp_path):
    names = np.array(["train", "test"])
    path = _npz(tmp_path / "a.npz", images=VALUES, split=np.arange(20) % 2, split_names=names, labels=np.arange(20))
    labels = {split: set(images.labels.tolist()) for split, images in _splits(path).items()}
    assert labels["test"] == set(range(1, 20, 2))
    assert labels["train"] | labels["validation"] == set(range(0, 20, 2))
    assert (len(labels["train"]), len(labels["validation"])) == (9, 1)


def test_greyscale_arrays_need_no_channel_axis(tmp_path):
    images = load_images(_npz(tmp_path / "a.npz", images=VALUES[..., 0]), split="test")
    assert images.shape == (1, 6, 8)
    assert np.array_equal(images.batch([3])[0, 0], VALUES[3, ..., 0])


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"pictures": VALUES}, "no array `images`"),
        ({"images": VALUES.astype(np.float32)}, "float32"),
        ({"images": VALUES[..., :2]}, "shape"),
        ({"images": VALUES[:0]}, "no images"),
        ({"images": VALUES, "labels": np.arange(3)}, "3 labels for 20"),
        ({"images": VALUES, "labels": np.zeros(20)}, "whole numbers"),
        ({"images": VALUES, "attributes": np.zeros((20, 1), bool)}, "attribute_names"),
        ({"images": VALUES, "split": np.zeros(20, np.uint8)}, "no split named"),
        ({"images": np.array([{}], dtype=object)}, "Python objects"),
        ({"images": VALUES, "attributes": np.zeros((20, 1)), "attribute_names": np.array("hat")}, "a list of texts"),
        ({"images": VALUES, "split": np.zeros(20), "split_names": np.arange(3)}, "a list of texts"),
        ({"images": VALUES, "split": np.zeros(3), "split_names": np.array(["test"])}, "`split` has the shape"),
    ],
)
def test_npz_that_does_not_fit_is_one_clear_error(tmp_path, arrays, words):
    path = _npz(tmp_path / "a.npz", **arrays)
    with pytest.raises(DataError, match=words) as raised:
        load_images(path, split="test")
    assert "a.npz" in str(raised.value)


def _write_idx(path, array, *, compress):
    data = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(data) if compress else data)


@pytest.mark.parametrize("compress", [True, False])
def test_idx_folder(tmp_path, compress):
    end = ".gz" if compress else ""
    grey = VALUES[..., 0]
    _write_idx(tmp_path / f"train-images-idx3-ubyte{end}", grey, compress=compress)
    _write_idx(tmp_path / f"train-labels-idx1-ubyte{end}", np.arange(20, dtype=np.uint8), compress=compress)
    _write_idx(tmp_path / f"t10k-images-idx3-ubyte{end}", grey[:5], compress=compress)
    _write_idx(tmp_path / f"t10k-labels-idx1-ubyte{end}", np.arange(5, dtype=np.uint8) + 50, compress=compress)
    sets = _splits(tmp_path)
    assert [len(images) for images in sets.values()] == [18, 2, 5]
    assert np.array_equal(sets["test"].batch([4])[0, 0], grey[4])
    assert sets["test"].labels.tolist() == [50, 51, 52, 53, 54]
    assert np.array_equal(sets["train"].batch([0])[0, 0], grey[sets["train"].labels[0]])


@pytest.mark.parametrize("keep", [0, 3, 10, 100, -1])
@pytest.mark.parametrize("compress", [True, False])
def test_damaged_idx_files_are_refused(tmp_path, keep, compress):
    path = tmp_path / f"t10k-images-idx3-ubyte{'.gz' if compress else ''}"
    _write_idx(path, VALUES[..., 0], compress=compress)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(DataError, match="t10k-images"):
        load_images(tmp_path, split="test")


def test_idx_folder_without_the_split_names_the_file(tmp_path):
    _write_idx(tmp_path / "t10k-images-idx3-ubyte", VALUES[..., 0], compress=False)
    with pytest.raises(DataError, match="train-images"):
        load_images(tmp_path, split="train")


def _pictures(folder, numbers):
    folder.mkdir(parents=True)
    for number in numbers:
        write_png(folder / f"{number:02d}.png", VALUES[number].transpose(2, 0, 1))


def test_folder_of_pictures_in_the_order_of_names(tmp_path):
    _pictures(tmp_path / "set", range(20))
    (tmp_path / "set" / "notes.txt").write_text("not a picture")
    images = load_images(tmp_path / "set", split="test")
    assert len(images) == 20
    assert images.labels is None
    assert np.array_equal(images.batch([7, 2]), VALUES[[7, 2]].transpose(0, 3, 1, 2))
    assert len(load_images(tmp_path / "set", split="train")) == 18


def test_class_folders_become_labels_and_split_folders_splits(tmp_path):
    _pictures(tmp_path / "set" / "train" / "cats", range(6))
    _pictures(tmp_path / "set" / "train" / "dogs", range(6, 10))
    _pictures(tmp_path / "set" / "val" / "dogs", range(10, 12))
    sets = {split: load_images(tmp_path / "set", split=split) for split in ("train", "validation")}
    assert sets["train"].labels.tolist() == [0] * 6 + [1] * 4
    assert len(sets["validation"]) == 2
    assert len(load_images(tmp_path / "set", split="test")) == 2


def test_a_class_has_one_number_in_every_split(tmp_path):
    for split, name, numbers in [("train", "a", [0, 1]), ("train", "b", [2]), ("train", "c", [3]), ("test", "c", [4])]:
        _pictures(tmp_path / "set" / split / name, numbers)
    assert load_images(tmp_path / "set", split="test").labels.tolist() == [2]


def test_hidden_pictures_are_passed_over(tmp_path):
    _pictures(tmp_path / "set", range(4))
    _pictures(tmp_path / "set" / ".thumbnails", range(4, 6))
    (tmp_path / "set" / "._00.png").write_bytes(b"not a picture")
    # A hidden folder above the set is the user's own business.
    _pictures(tmp_path / ".cache" / "set", range(3))
    assert len(load_images(tmp_path / "set", split="test")) == 4
    assert len(load_images(tmp_path / ".cache" / "set", split="test")) == 3


def test_training_images_are_never_validation_images_too(tmp_path):
    _pictures(tmp_path / "set" / "train", range(20))
    sets = {split: load_images(tmp_path / "set", split=split) for split in ("train", "validation")}
    faces = {split: {v.tobytes() for v in images.batch(range(len(images)))} for split, images in sets.items()}
    assert (len(faces["train"]), len(faces["validation"])) == (18, 2)
    assert not faces["train"] & faces["validation"]


def test_a_split_that_is_nowhere_is_named(tmp_path):
    _pictures(tmp_path / "set" / "test", range(3))
    with pytest.raises(DataError, match="no folder for the split train"):
        load_images(tmp_path / "set", split="train")


def test_a_single_picture_is_a_set_of_one(tmp_path):
    _pictures(tmp_path / "set", [4])
    assert np.array_equal(
        load_images(tmp_path / "set" / "04.png", split="test").batch([0])[0], VALUES[4].transpose(2, 0, 1)
    )


def test_a_picture_that_is_damaged_behind_its_header_is_named_when_it_is_read(tmp_path):
    _pictures(tmp_path / "set", range(3))
    path = tmp_path / "set" / "01.png"
    path.write_bytes(path.read_bytes()[:60])
    images = load_images(tmp_path / "set", split="test")
    with pytest.raises(DataError, match=r"01\.png"):
        images.batch([0, 1])


def test_skipping_decodes_the_images_that_were_asked_for(tmp_path):
    _pictures(tmp_path / "set", range(20))
    for number, content in ((3, b"no picture"), (7, (tmp_path / "set" / "07.png").read_bytes()[:60])):
        (tmp_path / "set" / f"{number:02d}.png").write_bytes(content)
    images = load_images(tmp_path / "set", split="test", skip_unreadable=True)
    assert [left.name for left in images.left_out] == [str(tmp_path / "set" / name) for name in ("03.png", "07.png")]
    kept = [number for number in range(20) if number not in (3, 7)]
    assert np.array_equal(images.batch(range(18)), VALUES[kept].transpose(0, 3, 1, 2))
    few = load_images(tmp_path / "set", split="test", skip_unreadable=True, limit=2)
    assert [few.name(row) for row in range(2)] == [str(tmp_path / "set" / name) for name in ("00.png", "10.png")]
    for number in kept:
        (tmp_path / "set" / f"{number:02d}.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="none of 1 pictures can be read"):
        load_images(tmp_path / "set", split="test", skip_unreadable=True)


@pytest.mark.parametrize("kind", ["npz", "folder"])
def test_other_sizes_need_resize_and_then_agree(tmp_path, kind):
    if kind == "npz":
        spec = _npz(tmp_path / "a.npz", images=VALUES)
    else:
        spec = tmp_path / "set"
        _pictures(spec, range(20))
    with pytest.raises(DataError, match="resize=True"):
        load_images(spec, split="test", size=(4, 4))
    images = load_images(spec, split="test", size=(4, 4), channels=1, resize=True)
    assert images.shape == (1, 4, 4)
    assert images.batch([0, 1]).shape == (2, 1, 4, 4)


def test_resizing_a_set_in_memory_and_a_folder_gives_the_same(tmp_path):
    _pictures(tmp_path / "set", range(3))
    options = {"split": "test", "size": (4, 4), "resize": True}
    folder = load_images(tmp_path / "set", **options).batch([0, 1, 2])
    assert np.array_equal(folder, load_images(_npz(tmp_path / "a.npz", images=VALUES[:3]), **options).batch([0, 1, 2]))


def test_colour_is_not_made_grey_in_silence(tmp_path):
    images = load_images(_npz(tmp_path / "a.npz", images=VALUES), split="test", channels=1)
    with pytest.raises(DataError, match="colour"):
        images.batch([0])


def test_limit_takes_images_from_all_over_the_set(tmp_path):
    path = _npz(tmp_path / "a.npz", images=VALUES, labels=np.arange(20) // 5)  # sorted by class
    few = load_images(path, split="test", limit=7)
    assert few.labels.tolist() == [0, 0, 1, 1, 2, 2, 3]
    assert np.array_equal(few.batch(range(7)), VALUES[[0, 2, 5, 8, 11, 14, 17]].transpose(0, 3, 1, 2))
    assert load_images(path, split="test", limit=1).labels.tolist() == [0]
    assert np.array_equal(load_images(path, split="test", limit=20).batch([19])[0], VALUES[19].transpose(2, 0, 1))
    assert len(load_images(path, split="test", limit=70)) == 20
    with pytest.raises(UsageError, match="at least 1"):
        load_images(path, split="test", limit=0)


@pytest.mark.parametrize("spec", ["nowhere", "no/such/file.npz"])
def test_what_is_not_there_is_named(spec):
    with pytest.raises(DataError, match="no such file or folder"):
        load_images(spec, split="test")


@pytest.mark.parametrize("data", [b"", b"text", b"PK\x03\x04 cut short", np.random.default_rng(0).bytes(500)])
def test_other_files_are_refused(tmp_path, data):
    (tmp_path / "noise.npz").write_bytes(data)
    with pytest.raises(DataError, match="noise"):
        load_images(tmp_path / "noise.npz", split="test")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="no pictures"):
        load_images(tmp_path, split="test")


# --- classes


def test_the_names_of_classes_and_their_number(tmp_path):
    for split, names in (("train", "ab"), ("test", "abc")):
        for name in names:
            (tmp_path / "tree" / split / name).mkdir(parents=True)
            for index in range(4):
                write_png(tmp_path / "tree" / split / name / f"{index}.png", np.zeros((3, 4, 4), np.uint8))
    train = load_images(tmp_path / "tree", split="train")
    assert (train.num_classes, train.class_names) == (3, ("a", "b", "c"))  # though it has none of c
    assert set(train.labels.tolist()) == {0, 1}
    labels = np.arange(20) % 5
    plain = load_images(_npz(tmp_path / "plain.npz", images=VALUES, labels=labels), split="train")
    assert (plain.num_classes, plain.class_names) == (5, ())
    names = np.array(["v", "w", "x", "y", "z", "never seen"])
    named = load_images(_npz(tmp_path / "named.npz", images=VALUES, labels=labels, label_names=names), split="test")
    assert (named.num_classes, named.class_names[-1]) == (6, "never seen")
    assert named.select([3]).class_names == named.class_names
    assert load_images(_npz(tmp_path / "none.npz", images=VALUES), split="test").num_classes is None
    path = _npz(tmp_path / "few.npz", images=VALUES, labels=labels, label_names=names[:3])
    with pytest.raises(DataError, match="labels go up to 4, and 3 classes have names"):
        load_images(path, split="test")


def test_labels_for_a_model(tmp_path):
    images = load_images(_npz(tmp_path / "a.npz", images=VALUES, labels=np.arange(20) % 5), split="test")
    assert images.labels_for(5).tolist() == [0, 1, 2, 3, 4] * 4
    assert len(images.labels_for(6)) == 20
    with pytest.raises(DataError, match=r"a\.npz: class labels lie in 0\.\.4, the model knows 0\.\.3"):
        images.labels_for(4)
    negative = load_images(_npz(tmp_path / "b.npz", images=VALUES, labels=np.arange(20) % 5 - 1), split="test")
    with pytest.raises(DataError, match=r"lie in -1\.\.3"):
        negative.labels_for(5)
    with pytest.raises(DataError, match="no class labels in it; this model is conditioned on 5 classes"):
        load_images(_npz(tmp_path / "c.npz", images=VALUES), split="test").labels_for(5)


def test_classes_take_turns():
    labels = np.array([2, 2, 0, 0, 0, 2, 1])
    assert class_rounds(labels, 99).tolist() == [2, 6, 0, 3, 1, 4, 5]
    assert labels[class_rounds(labels, 3)].tolist() == [0, 1, 2]
    assert class_rounds(labels, 0).tolist() == []

from __future__ import annotations

import doctest

import numpy as np
import pytest

from glow_deploy.data import load_images
from glow_deploy.data.npz_file import npz_parts
from glow_deploy.directions import labelled as module
from glow_deploy.directions.labelled import load_labelled
from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import write_png

RNG = np.random.default_rng(0)
COUNT = 40
VALUES = RNG.integers(0, 256, (COUNT, 3, 4, 4), dtype=np.uint8)
HAT = np.arange(COUNT) % 3 == 0


def every(images) -> np.ndarray:
    return images.batch(np.arange(len(images)))


@pytest.fixture
def folder(tmp_path):
    """Forty pictures, some of them in a subfolder, and a table."""
    (tmp_path / "pictures" / "sub").mkdir(parents=True)
    for number, value in enumerate(VALUES):
        write_png(tmp_path / "pictures" / ("sub" if number >= 30 else ".") / f"{number:02d}.png", value)
    return tmp_path / "pictures"


def table(folder, names, path="tags.csv"):
    rows = [f"{name},{int(HAT[int(name[-6:-4])])}" for name in names]
    place = folder.parent / path
    place.write_text("\n".join(["file,hat", *rows]) + "\n")
    return place


NAMES = [f"{'sub/' if number >= 30 else ''}{number:02d}.png" for number in range(COUNT)]


def test_the_examples_hold():
    found = doctest.testmod(module)
    assert found.attempted
    assert not found.failed


def test_the_embedded_faces_bring_their_own():
    faces = load_labelled("faces", limit=50)
    assert (len(faces.train), len(faces.held_out), len(faces.names)) == (50, 50, 13)
    assert {"hat", "smiling", "beard"} < set(faces.names)
    test = load_images("faces", split="test", limit=50)
    np.testing.assert_array_equal(every(faces.held_out), every(test))
    np.testing.assert_array_equal(faces.held_out.attributes, test.attributes)
    with pytest.raises(UsageError, match="limit"):
        load_labelled("faces", limit=0)
    with pytest.raises(UsageError, match="no attribute 'tail'"):
        load_labelled("faces", tags=["tail"])


def test_a_folder_is_divided_as_training_divides_it(folder):
    found = load_labelled(folder, labels=table(folder, NAMES))
    for part, split in ((found.train, "train"), (found.held_out, "validation")):
        np.testing.assert_array_equal(every(part), every(load_images(folder, split=split)))
    assert (len(found.train), len(found.held_out), found.notes) == (36, 4, ())
    lookup = {value.tobytes(): flag for value, flag in zip(VALUES, HAT, strict=True)}
    for part in (found.train, found.held_out):
        assert [lookup[value.tobytes()] for value in every(part)] == part.attributes[:, 0].tolist()


def test_rows_and_pictures_without_the_other_are_passed_over_and_counted(folder):
    found = load_labelled(folder, labels=table(folder, [*NAMES[5:], "9900.png", "../00.png"]))
    assert len(found.train) + len(found.held_out) == 35
    assert "2 of 37 rows" in found.notes[0]
    assert "5 of 40 pictures" in found.notes[1]


def test_names_without_their_subfolder_and_with_windows_slashes(folder):
    names = [name.replace("sub/", "sub\\") if number % 2 else name[-6:] for number, name in enumerate(NAMES)]
    found = load_labelled(folder, labels=table(folder, names))
    assert (len(found.train), len(found.held_out), found.notes) == (36, 4, ())
    write_png(folder / "31.png", VALUES[0])
    whole = load_labelled(folder, labels=table(folder, NAMES))
    assert "1 of 41 pictures" in whole.notes[0]
    (folder / "more").mkdir()
    (folder / "31.png").rename(folder / "more" / "31.png")
    with pytest.raises(DataError, match=r"'31\.png' is in more than one subfolder"):
        load_labelled(folder, labels=table(folder, ["31.png"]))


def test_folders_named_as_splits_are_the_splits(folder):
    (folder / "train").mkdir()
    (folder / "test").mkdir()
    for number in range(30):
        (folder / f"{number:02d}.png").rename(folder / ("train" if number < 20 else "test") / f"{number:02d}.png")
    found = load_labelled(folder, labels=table(folder, [name[-6:] for name in NAMES]))
    np.testing.assert_array_equal(every(found.train), VALUES[:20])
    np.testing.assert_array_equal(every(found.held_out), VALUES[20:30])
    for path in (folder / "test").iterdir():
        path.unlink()
    found = load_labelled(folder, labels=table(folder, [name[-6:] for name in NAMES[:20]]))
    assert (len(found.train), len(found.held_out)) == (18, 2)


def test_a_table_of_other_pictures_is_refused(folder, tmp_path):
    with pytest.raises(DataError, match=r"names 'x00\.png' and the like; no such pictures"):
        load_labelled(folder, labels=table(folder, ["x00.png"]))
    with pytest.raises(DataError, match="no labelled pictures are left"):
        load_labelled(folder, labels=table(folder, NAMES[:1]))
    with pytest.raises(DataError, match="must be a folder of pictures"):
        load_labelled("faces", labels=table(folder, NAMES))
    with pytest.raises(DataError, match="says nothing about its images"):
        load_labelled(folder / "sub")


def test_rows_of_an_npz_go_with_the_images_of_one(tmp_path):
    np.savez(tmp_path / "images.npz", images=VALUES.transpose(0, 2, 3, 1))
    np.savez(tmp_path / "tags.npz", attributes=HAT[:, None], attribute_names=np.array(["hat"]))
    found = load_labelled(tmp_path / "images.npz", labels=tmp_path / "tags.npz")
    lookup = {value.tobytes(): flag for value, flag in zip(VALUES, HAT, strict=True)}
    assert (len(found.train), len(found.held_out)) == (36, 4)
    for part in (found.train, found.held_out):
        assert [lookup[value.tobytes()] for value in every(part)] == part.attributes[:, 0].tolist()
    np.savez(tmp_path / "tags.npz", attributes=HAT[1:, None], attribute_names=np.array(["hat"]))
    with pytest.raises(DataError, match="has 39 rows for the 40 images"):
        load_labelled(tmp_path / "images.npz", labels=tmp_path / "tags.npz")
    with pytest.raises(DataError, match="names its splits"):
        load_labelled("faces", labels=tmp_path / "tags.npz")


def test_classes_are_attributes_where_there_are_no_others(tmp_path):
    labels = np.arange(COUNT) % 4
    np.savez(tmp_path / "images.npz", images=VALUES.transpose(0, 2, 3, 1), labels=labels)
    found = load_labelled(tmp_path / "images.npz", tags=["class-3", "class-0"])
    assert found.names == ("class-3", "class-0")
    np.testing.assert_array_equal(found.train.attributes[:, 0], found.train.labels == 3)
    np.testing.assert_array_equal(found.held_out.attributes[:, 1], found.held_out.labels == 0)
    assert load_labelled(tmp_path / "images.npz").names == tuple(f"class-{number}" for number in range(4))


@pytest.mark.parametrize("wrong", [-1, 4096, 10**9])
def test_class_labels_that_cannot_be_attributes_are_refused_before_anything_of_their_size_is_made(tmp_path, wrong):
    labels = np.arange(COUNT) % 4
    labels[7] = wrong
    np.savez(tmp_path / "images.npz", images=VALUES.transpose(0, 2, 3, 1), labels=labels)
    with pytest.raises(DataError, match=rf"class labels from .*{wrong}.*; 0 to 4095 can be taken"):
        load_labelled(tmp_path / "images.npz")


def test_a_set_without_splits_is_read_once_and_divided_as_training_divides_it(tmp_path, monkeypatch):
    path = tmp_path / "images.npz"
    np.savez(path, images=VALUES.transpose(0, 2, 3, 1), attributes=HAT[:, None], attribute_names=np.array(["hat"]))
    parts = {split: load_images(path, split=split) for split in ("train", "validation")}
    opened = []

    def counting(*arguments, **options):
        opened.append(arguments)
        return npz_parts(*arguments, **options)

    monkeypatch.setattr("glow_deploy.data.load.npz_parts", counting)
    found = load_labelled(path)
    assert len(opened) == 1
    for part, split in ((found.train, "train"), (found.held_out, "validation")):
        np.testing.assert_array_equal(every(part), every(parts[split]))
        np.testing.assert_array_equal(part.attributes, parts[split].attributes)
        assert not part.undivided


def test_a_picture_named_in_two_ways_is_refused(folder):
    with pytest.raises(DataError, match=r"'sub/31\.png' and '31\.png' are the same picture"):
        load_labelled(folder, labels=table(folder, [*NAMES, "31.png"]))


def test_truths_of_minus_one_in_an_archive_are_those_of_a_table(tmp_path):
    options = {"images": VALUES.transpose(0, 2, 3, 1), "attribute_names": np.array(["hat"])}
    np.savez(tmp_path / "signs.npz", attributes=np.where(HAT, 1, -1)[:, None], **options)
    np.savez(tmp_path / "truths.npz", attributes=HAT[:, None], **options)
    signs, truths = load_labelled(tmp_path / "signs.npz"), load_labelled(tmp_path / "truths.npz")
    np.testing.assert_array_equal(signs.train.attributes, truths.train.attributes)
    np.savez(tmp_path / "twos.npz", attributes=np.where(HAT, 2, 0)[:, None], **options)
    with pytest.raises(DataError, match="other values than 0 and 1, or -1 and 1"):
        load_labelled(tmp_path / "twos.npz")


def test_damaged_pictures_are_left_out_of_both_parts(folder):
    for name, content in (("03.png", b"no picture"), ("04.png", (folder / "04.png").read_bytes()[:50])):
        (folder / name).write_bytes(content)
    tags = table(folder, NAMES)
    with pytest.raises(DataError, match=r"03\.png.*skip_unreadable=True"):
        load_labelled(folder, labels=tags)
    found = load_labelled(folder, labels=tags, skip_unreadable=True)
    assert len(found.train) + len(found.held_out) == COUNT - 2
    assert {left.name[-6:] for left in found.left_out} == {"03.png", "04.png"}
    both = [*found.train.names, *found.held_out.names]
    flags = np.concatenate([found.train.attributes, found.held_out.attributes])[:, 0]
    assert all(HAT[int(name[-6:-4])] == flag for name, flag in zip(both, flags, strict=True))

import io
import pickle
import tarfile
import threading
import zipfile

import numpy as np
import pytest

from glow_deploy.data import load_images, open_images
from glow_deploy.errors import DataError
from glow_deploy.images import png_bytes

VALUES = np.random.default_rng(0).integers(0, 256, (8, 3, 4, 4), dtype=np.uint8)
NAMES = [f"pets/{'train' if row < 6 else 'test'}/{'ab'[row % 2]}/{row}.png" for row in range(8)]
FILES = {name: png_bytes(value) for name, value in zip(NAMES, VALUES, strict=True)}


def _zip(path, files, **options):
    with zipfile.ZipFile(path, "w", **options) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def _tar(path, files, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture(params=["zip", "deflated", "tar"])
def write(request, tmp_path):
    def write(files):
        if request.param == "tar":
            return _tar(tmp_path / "a.tar", files)
        kind = zipfile.ZIP_DEFLATED if request.param == "deflated" else zipfile.ZIP_STORED
        return _zip(tmp_path / "a.zip", files, compression=kind)

    return write


def test_folders_in_an_archive_are_splits_and_classes(write):
    more = {"pets/readme.md": b"", "__MACOSX/pets/._0.png": b"", "pets/.DS_Store": b""}
    path = write({**FILES, **more})
    opened = open_images(path)
    train, test = opened.take("train"), opened.take("test")
    assert (len(train) + len(opened.take("validation")), len(test)) == (6, 2)
    assert (test.class_names, test.labels.tolist()) == (("a", "b"), [0, 1])
    assert np.array_equal(test.batch([1, 0]), VALUES[[7, 6]])
    assert test.name(0) == f"{path}:pets/test/a/6.png"
    assert any("3 other files were left out: 2 hidden, 1 .md" in note for note in test.notes)


def test_damaged_pictures_are_named_and_can_be_left_out(write):
    files = {f"{row}.png": content for row, content in enumerate(FILES.values())}
    path = write({**files, "3.png": b"no picture"})
    with pytest.raises(DataError, match=rf"{path.name}:3\.png is not a picture"):
        load_images(path, split="test")
    images = load_images(path, split="test", skip_unreadable=True)
    assert len(images) == 7
    assert [left.name for left in images.left_out] == [f"{path}:3.png"]


def test_they_are_read_by_many_threads_and_other_processes(write):
    images = load_images(write(FILES), split="test")
    rows = np.arange(2)
    wanted, wrong = images.batch(rows), []

    def read():
        for _ in range(20):
            if not np.array_equal(images.batch(rows), wanted):
                wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert np.array_equal(pickle.loads(pickle.dumps(images)).batch(rows), wanted)


def test_classes_of_a_web_dataset(tmp_path):
    files = {}
    for row, content in enumerate(FILES.values()):
        files |= {f"{row:03d}.png": content, f"{row:03d}.cls": str(row % 3).encode()}
    images = load_images(_tar(tmp_path / "shard.tar", files), split="test")
    assert images.labels.tolist() == [row % 3 for row in range(8)]
    assert np.array_equal(images.batch(range(8)), VALUES)
    files["002.cls"] = b"cat"
    with pytest.raises(DataError, match=r"002\.cls holds b'cat'; a class number is needed"):
        load_images(_tar(tmp_path / "other.tar", files), split="test")


def test_compressed_tars_say_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"is compressed.*unpack it, or write an uncompressed \.tar or a \.zip"):
        load_images(_tar(tmp_path / "a.tar.gz", FILES, "w:gz"), split="test")


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_archives_cut_short_are_one_clear_error(tmp_path, kind):
    path = _zip(tmp_path / "a.zip", FILES) if kind == "zip" else _tar(tmp_path / "a.tar", FILES)
    path.write_bytes(path.read_bytes()[:900])
    with pytest.raises(DataError, match=path.name) as raised:
        load_images(path, split="test")
    assert "\n" not in str(raised.value)


def test_an_archive_without_pictures_says_what_it_holds(write):
    with pytest.raises(DataError, match=r"no pictures there .*1 \.txt"):
        load_images(write({"a.txt": b"x"}), split="test")


def test_nothing_is_written(write, tmp_path):
    path = write({"a/../../outside.png": FILES[NAMES[0]], "/root.png": FILES[NAMES[1]]})
    assert len(load_images(path, split="test")) == 1  # what names a folder above is passed over
    assert list(tmp_path.iterdir()) == [path]

import numpy as np
import pytest

from glow_deploy.data import open_images
from glow_deploy.data.opened import OpenedImages
from glow_deploy.errors import DataError, UsageError
from glow_deploy.images import write_png


def _folder(folder, count):
    folder.mkdir(parents=True)
    for number in range(count):
        write_png(folder / f"{number:02d}.png", np.full((3, 4, 4), number, np.uint8))


def test_a_part_is_opened_once_for_all_its_splits(tmp_path, monkeypatch):
    _folder(tmp_path / "set", 20)
    from glow_deploy.data import pictures

    read, original = [], pictures.read_header
    monkeypatch.setattr(pictures, "read_header", lambda source, name: read.append(source) or original(source))
    opened = open_images(tmp_path / "set")
    assert not read
    assert [len(opened.take(split)) for split in ("train", "validation", "test")] == [18, 2, 20]
    assert len(read) == 20


def test_an_archive_is_read_once_for_all_its_splits(tmp_path, monkeypatch):
    from glow_deploy.data import npz_file

    opened, original = [], npz_file.NpzArchive
    monkeypatch.setattr(npz_file, "NpzArchive", lambda path: opened.append(path) or original(path))
    np.savez(tmp_path / "a.npz", images=np.zeros((20, 4, 4, 3), np.uint8))
    found = open_images(tmp_path / "a.npz")
    assert (len(found.take("train")), len(found.take("validation"))) == (18, 2)
    assert len(opened) == 1


def test_what_cannot_be_read_is_left_out_before_a_set_is_divided(tmp_path):
    _folder(tmp_path / "set", 20)
    path = tmp_path / "set" / "04.png"
    path.write_bytes(path.read_bytes()[:50])
    told = []
    opened = open_images(tmp_path / "set", skip_unreadable=True, progress=lambda *words: told.append(words))
    train, validation = opened.take("train"), opened.take("validation")
    assert (len(train), len(validation), len(opened.part("whole"))) == (18, 1, 19)
    assert told[0][0] == "reading headers"
    assert told[-1] == ("checking pictures", 20, 20)
    names = {*train.names, *validation.names}
    assert len(names) == 19
    assert "04.png" not in names
    lenient = open_images(tmp_path / "set", skip_unreadable=True, decode=False)
    assert len(lenient.part("whole")) == 20


def test_unknown_splits_and_limits_are_refused(tmp_path):
    opened = OpenedImages({}, missing=lambda split: f"no {split}")
    with pytest.raises(UsageError, match="choose one of"):
        opened.take("holdout")
    with pytest.raises(UsageError, match="at least 1"):
        opened.take("test", limit=0)
    with pytest.raises(DataError, match="no train"):
        opened.take("train")

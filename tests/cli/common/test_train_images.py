import json

import numpy as np
import pytest
from glow_cli.common.train_images import LISTING_NAME, checked, open_pair, reopen_pair

from glow_deploy.errors import DataError
from glow_deploy.images import write_png


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "set").mkdir()
    for number in range(20):
        write_png(tmp_path / "set" / f"{number:02d}.png", np.full((1, 4, 4), number, np.uint8))
    return tmp_path / "set"


def _open(folder, **options):
    return open_pair(str(folder), (None, None), **{"resize": False, "skip_unreadable": False, **options})


def test_what_a_run_has_is_written_and_found_again(folder, tmp_path):
    path = folder / "07.png"
    path.write_bytes(path.read_bytes()[:40])
    images = _open(folder, skip_unreadable=True)
    run = tmp_path / "run"
    run.mkdir()
    images.write(run)
    assert "07.png" not in json.loads((run / LISTING_NAME).read_text())["parts"]["whole"]["names"]
    assert (run / "skipped.txt").read_text().startswith(f"{path}\t")
    assert any("skipped.txt" in line for line in images.lines(run))
    path.unlink()
    again = reopen_pair(str(folder), ((4, 4), 1), folder=run, resize=False, skip_unreadable=False)
    assert list(again.train.names) == list(images.train.names)
    assert list(again.validation.names) == list(images.validation.names)


def test_pictures_are_decoded_in_the_background_unless_they_have_been(folder):
    with checked(_open(folder)) as check:
        assert check.total == 20
    with checked(_open(folder, skip_unreadable=True)) as check:
        assert check.total == 0


def test_images_in_memory_leave_no_list(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((20, 4, 4), np.uint8))
    (tmp_path / LISTING_NAME).write_text("of an earlier run")
    _open(tmp_path / "a.npz").write(tmp_path)
    assert not (tmp_path / LISTING_NAME).exists()


def test_both_parts_must_be_of_one_shape(tmp_path):
    for split, side in (("train", 4), ("val", 6)):
        (tmp_path / split).mkdir()
        write_png(tmp_path / split / "0.png", np.zeros((1, side, side), np.uint8))
    with pytest.raises(DataError, match="images are 6x6 grey, those to train on are 4x4 grey"):
        _open(tmp_path)

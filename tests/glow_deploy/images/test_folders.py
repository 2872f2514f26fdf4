import os

import numpy as np
import pytest

from glow_deploy.errors import DataError
from glow_deploy.images import find_in_folder, write_png


def _png(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    write_png(path, np.zeros((1, 2, 2), np.uint8))


def test_pictures_are_found_by_their_suffix_in_any_case(tmp_path):
    for name in ("b.PNG", "a.JPG", "sub/c.JpEg", "d.jfif", "e.avif", "f.png.bak", "g.heic", "noise"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    found = find_in_folder(tmp_path)
    names = [path.relative_to(tmp_path).as_posix() for path in found.paths]
    assert names == ["a.JPG", "b.PNG", "d.jfif", "e.avif", "sub/c.JpEg"]
    assert found.left_out == {".bak": 1, ".heic": 1, "without a suffix": 1}
    assert found.note == f"{tmp_path}: 3 other files were left out: 1 .bak, 1 .heic, 1 without a suffix"


def test_a_folder_of_pictures_alone_needs_no_note(tmp_path):
    _png(tmp_path / "a.png")
    assert find_in_folder(tmp_path).note is None


def test_kinds_are_listed_by_number_and_not_without_end(tmp_path):
    _png(tmp_path / "a.png")
    for number in range(9):
        for copy in range(1 + number % 2):
            (tmp_path / f"{copy}.k{number}").write_bytes(b"")
    note = find_in_folder(tmp_path).note
    assert "13 other files were left out: 2 .k1, 2 .k3, 2 .k5, 2 .k7, 1 .k0, 1 .k2, 3 of other kinds" in note


def test_hidden_files_are_counted_and_passed_over(tmp_path):
    _png(tmp_path / "a.png")
    _png(tmp_path / ".thumbnails" / "a.png")
    (tmp_path / "._a.png").write_bytes(b"")
    found = find_in_folder(tmp_path)
    assert [path.name for path in found.paths] == ["a.png"]
    assert found.left_out == {"hidden": 2}


def test_links_to_files_and_folders_are_followed(tmp_path):
    _png(tmp_path / "store" / "deep" / "a.png")
    _png(tmp_path / "store" / "b.png")
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "link").symlink_to(tmp_path / "store" / "deep", target_is_directory=True)
    (tmp_path / "set" / "b.png").symlink_to(tmp_path / "store" / "b.png")
    (tmp_path / "set" / "c.png").symlink_to(tmp_path / "nowhere")
    found = find_in_folder(tmp_path / "set")
    assert [path.relative_to(tmp_path / "set").as_posix() for path in found.paths] == ["b.png", "link/a.png"]
    assert found.left_out == {"broken links": 1}
    (tmp_path / "front").symlink_to(tmp_path / "set", target_is_directory=True)
    assert len(find_in_folder(tmp_path / "front").paths) == 2


def test_one_folder_that_is_linked_twice_is_no_loop(tmp_path):
    _png(tmp_path / "set" / "a" / "x.png")
    (tmp_path / "set" / "b").symlink_to(tmp_path / "set" / "a", target_is_directory=True)
    assert len(find_in_folder(tmp_path / "set").paths) == 2


@pytest.mark.parametrize("far", [False, True])
def test_links_in_a_circle_are_refused(tmp_path, far):
    _png(tmp_path / "set" / "a" / "x.png")
    if far:
        _png(tmp_path / "other" / "y.png")
        (tmp_path / "set" / "a" / "there").symlink_to(tmp_path / "other", target_is_directory=True)
        (tmp_path / "other" / "back").symlink_to(tmp_path / "set", target_is_directory=True)
    else:
        (tmp_path / "set" / "a" / "back").symlink_to("..", target_is_directory=True)
    with pytest.raises(DataError, match=r"back is a link that leads back to .*set, above it; remove the link"):
        find_in_folder(tmp_path / "set")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes in folders here")
def test_pipes_are_not_opened(tmp_path):
    _png(tmp_path / "a.png")
    os.mkfifo(tmp_path / "b.png")
    found = find_in_folder(tmp_path)
    assert (len(found.paths), found.left_out) == (1, {"pipes, sockets or devices": 1})

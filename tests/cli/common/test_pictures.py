"""Names of the pictures that are written."""

from __future__ import annotations

import time

import pytest
from glow_cli.common.pictures import file_names, find_pictures


def test_equal_names_are_numbered():
    assert file_names(("a.png", "a.jpg", "b", "A", "a-2", "a")) == [
        "a.png",
        "a-2.png",
        "b.png",
        "A-3.png",
        "a-2-2.png",
        "a-4.png",
    ]


def test_many_equal_names_take_no_time():
    start = time.perf_counter()
    found = file_names(("same",) * 40_000)
    assert time.perf_counter() - start < 5
    assert len(set(found)) == 40_000
    assert found[-1] == "same-40000.png"


def test_names_cannot_leave_the_folder():
    names = file_names(("../../etc/passwd", "a/b.png", "c\\b.jpg", "", "..", "B.png", "\x00"))
    assert names == ["passwd.png", "b.png", "b-2.png", "picture.png", "picture-2.png", "B-3.png", "_.png"]
    assert not any("/" in name or "\\" in name for name in names)


def test_names_fit_the_file_system(tmp_path):
    """In bytes: 120 letters may take 480."""
    names = file_names(("\U0001d4b3" * 150, "\U0001d4b3" * 151, "é" * 300, "x" * 300))
    assert len(set(names)) == 4
    for name in names:
        assert 190 <= len(name.encode()) <= 210
        (tmp_path / name).touch()
    with pytest.raises(OSError, match="too long"):
        (tmp_path / ("\U0001d4b3" * 120)).touch()


def test_hidden_files_of_a_folder_are_none_of_its_pictures(tmp_path, pictures):
    folder = tmp_path / ".work" / "album"  # only what is hidden inside counts
    (folder / ".thumbnails").mkdir(parents=True)
    for name in ("a.png", "._a.png", ".thumbnails/a.png"):
        (folder / name).write_bytes(pictures[0].read_bytes())
    assert find_pictures([folder])[0] == [folder / "a.png"]

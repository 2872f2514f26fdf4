from __future__ import annotations

import errno
import os

import pytest

from glow_core.locks import LOCK_NAME, FolderInUseError, held_folder

fcntl = pytest.importorskip("fcntl", reason="this system has no file locks of this kind")


def plainly(path, flags):
    return os.open(path, flags, 0o666)


def test_one_at_a_time_and_the_holder_is_named(tmp_path):
    folder = tmp_path / "a" / "b"
    with held_folder(folder, open_file=plainly):
        with pytest.raises(FolderInUseError) as raised, held_folder(folder, open_file=plainly):
            pass
        assert raised.value.holder == str(os.getpid())
        (folder / LOCK_NAME).write_text("\x1b[2J of a stranger")
        with pytest.raises(FolderInUseError) as raised, held_folder(folder, open_file=plainly):
            pass
        assert raised.value.holder == "of an unknown number"
    assert not folder.exists()


def test_what_came_into_a_folder_stays_and_the_lock_goes(tmp_path):
    with held_folder(tmp_path / "new", open_file=plainly):
        (tmp_path / "new" / "kept").touch()
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["kept"]


@pytest.mark.parametrize(("number", "held"), [(errno.ENOLCK, False), (errno.EIO, None)])
def test_a_file_system_without_locks_holds_nothing_and_a_broken_one_is_an_error(tmp_path, monkeypatch, number, held):
    def fails(handle, how):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fails)
    if held is None:
        with pytest.raises(OSError, match=os.strerror(number)), held_folder(tmp_path, open_file=plainly):
            pass
    else:
        with held_folder(tmp_path, open_file=plainly), held_folder(tmp_path, open_file=plainly):
            pass

from __future__ import annotations

import os

import pytest

from glow_core.locks import LOCK_NAME
from glow_deploy.bulk.lock import folder_lock
from glow_deploy.errors import UsageError


def test_one_run_at_a_time(tmp_path):
    folder = tmp_path / "a" / "b"
    with folder_lock(folder):
        with pytest.raises(UsageError, match=f"b: process {os.getpid()} works in it"), folder_lock(folder):
            pass
        (folder / "kept").touch()
    assert [path.name for path in folder.iterdir()] == ["kept"]
    with folder_lock(folder):
        assert (folder / LOCK_NAME).exists()


def test_a_folder_that_nothing_came_into_goes_again(tmp_path):
    with pytest.raises(ZeroDivisionError), folder_lock(tmp_path / "new"):
        raise ZeroDivisionError
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").touch()
    (tmp_path / LOCK_NAME).symlink_to("elsewhere")
    with pytest.raises(UsageError, match=f"{LOCK_NAME} is a link"), folder_lock(tmp_path):
        pass
    assert not (tmp_path / "elsewhere").exists()
    with pytest.raises(UsageError, match="cannot write to"), folder_lock(tmp_path / "file"):
        pass

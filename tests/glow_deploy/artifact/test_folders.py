from __future__ import annotations

import os
import re
import tempfile

import pytest

from glow_deploy.artifact.folders import check_writable
from glow_deploy.errors import UsageError


def test_a_folder_that_can_be_written_is_left_as_it_was(tmp_path):
    check_writable(tmp_path)
    check_writable(tmp_path / "not" / "there" / "yet")
    assert list(tmp_path.iterdir()) == []


def test_a_relative_folder_is_looked_for_where_the_program_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_writable(tmp_path.relative_to(tmp_path) / "out")


def test_the_folder_that_cannot_be_written_is_the_one_that_is_there(tmp_path, monkeypatch):
    def refuse(*, dir):
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    with pytest.raises(UsageError, match=f"^cannot write to {re.escape(str(tmp_path))}: Read-only file system; choose"):
        check_writable(tmp_path / "a" / "b")


def test_a_file_in_the_place_of_a_folder_is_told(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match=r"cannot write to .*file"):
        check_writable(tmp_path / "file" / "out")
    assert (tmp_path / "file").read_text() == "mine"

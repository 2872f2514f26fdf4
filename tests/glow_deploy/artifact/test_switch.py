import os
import subprocess
import sys
from pathlib import Path

import pytest

from glow_deploy.artifact import switch
from glow_deploy.artifact.switch import exchange, is_running, leftover_name, writer_of


def test_two_folders_change_names(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "what").write_text(name)
    if not exchange(tmp_path / "a", tmp_path / "b"):
        pytest.skip(f"the file system of {tmp_path} has no exchange of names")
    assert (tmp_path / "a" / "what").read_text() == "b"
    assert (tmp_path / "b" / "what").read_text() == "a"


def test_a_system_without_the_exchange_is_told_and_nothing_changes(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "a" / "what").touch()
    monkeypatch.setattr(switch, "_renameat2", lambda: None)
    assert not exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "what").exists()


def test_an_exchange_that_fails_for_another_reason_says_so(tmp_path):
    (tmp_path / "a").mkdir()
    if switch._renameat2() is None:
        pytest.skip("this system has no exchange of names")
    with pytest.raises(FileNotFoundError):
        exchange(tmp_path / "a", tmp_path / "nothing")


def test_a_process_that_runs_is_told_from_one_that_ended():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_running(str(os.getpid()))
    assert not is_running(str(ended.pid))
    assert is_running("not a number")


@pytest.mark.parametrize("name", ["bundle", "a.b.c", ".hidden", "with space"])
def test_a_leftover_names_its_writer(name):
    assert writer_of(Path(leftover_name(name, token="00ff", suffix=".tmp"))) == str(os.getpid())


@pytest.mark.parametrize("name", [".bundle.tmp", "bundle", ".x.1.tmp"])
def test_what_names_no_writer_has_none(name):
    assert writer_of(Path(name)) == ""

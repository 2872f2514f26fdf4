"""Whose a temporary file is, and whether its process still runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from glow_core.temporaries import (
    create_new,
    host_name,
    is_running,
    is_temporary,
    left_by_the_dead,
    temporary_name,
    writer_of,
)


@pytest.fixture(scope="module")
def ended():
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return str(process.pid)


def test_a_process_that_runs_is_told_from_one_that_ended(ended):
    assert is_running(str(os.getpid()))
    assert not is_running(ended)


@pytest.mark.parametrize("text", ["not a number", "", "\u00b2", "\u0663", "1\n", "-1", "9" * 5000])
def test_what_is_no_number_is_taken_for_running(text):
    assert is_running(text)


@pytest.mark.parametrize("name", ["bundle", "a.b.c", ".hidden", "with space", "two\nlines"])
def test_a_temporary_name_says_who_writes(name):
    path = Path(temporary_name(name))
    assert writer_of(path) == str(os.getpid())
    assert is_temporary(path)
    assert not is_temporary(path, suffix=".other")
    assert temporary_name(name) != temporary_name(name)


@pytest.mark.parametrize(
    "name", [".bundle.tmp", "bundle", ".x.1.tmp", ".a.host.\u00b2.x.tmp", ".a.1-00ff.tmp", "b.h.1.x.tmp"]
)
def test_what_names_no_writer_has_none(name):
    assert writer_of(Path(name)) == ""
    assert not is_temporary(Path(name))


def test_only_what_the_dead_of_this_machine_left_for_this_target_is_found(tmp_path, ended):
    host, target = host_name(), tmp_path / "a[1].pt"
    left = tmp_path / f".a[1].pt.{host}.{ended}.00ff.tmp"
    others = [
        f".a[1].pt.{host}.{os.getpid()}.00ff.tmp",  # of a process that runs
        f".a[1].pt.{host}x.{ended}.00ff.tmp",  # of another machine, whose name begins like ours
        f".a[1].pt.{host}.x.{ended}.00ff.tmp",
        f".a[1].pt.{host}.\u00b2.00ff.tmp",
        f".a[1].pt.{host}.{ended}.00ff.unfinished",
        f".b.a[1].pt.{host}.{ended}.00ff.tmp",
        f".a1.pt.{host}.{ended}.00ff.tmp",  # what the brackets would match
        f".a[1].pt.{ended}-00ff.tmp",
        f".a[1].pt.{host}.{host}.{ended}.00ff.tmp",  # on the way to a file whose name goes on
        "a[1].pt",
    ]
    for path in (left, *(tmp_path / name for name in others)):
        path.touch()
    assert list(left_by_the_dead(target)) == [left]
    ours = tmp_path / others[0]
    assert set(left_by_the_dead(target, own=True)) == {left, ours}
    assert list(left_by_the_dead(target, suffix=".unfinished")) == [tmp_path / others[4]]


def test_a_new_file_follows_no_link(tmp_path):
    (tmp_path / "victim").write_text("precious")
    (tmp_path / "link").symlink_to("victim")
    (tmp_path / "dangling").symlink_to("nothing")
    for name in ("victim", "link", "dangling"):
        with pytest.raises(FileExistsError):
            create_new(tmp_path / name)
    assert (tmp_path / "victim").read_text() == "precious"
    create_new(tmp_path / "new")
    assert not (tmp_path / "nothing").exists()
    assert (tmp_path / "new").read_bytes() == b""

import errno
import os
import subprocess
import sys

import pytest

from glow_core.temporaries import host_name
from glow_deploy.artifact.files import (
    atomic_path,
    atomic_paths,
    atomic_write,
    open_regular,
    read_regular,
    refuse_folder,
    refuse_overwrite,
    sha256_bytes,
    sha256_file,
)
from glow_deploy.errors import BundleError, UsageError


def test_a_write_that_fails_leaves_the_earlier_file(tmp_path):
    target = tmp_path / "a.bin"
    atomic_write(target, b"first")

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_bytes(b"half of the sec")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert target.read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UsageError, match="nowhere"):
        atomic_write(tmp_path / "nowhere" / "a.bin", b"")


def test_only_its_own_errors_are_reported_as_a_failed_write(tmp_path):
    def read_another() -> None:
        with atomic_path(tmp_path / "a.bin"):
            (tmp_path / "missing").read_bytes()

    with pytest.raises(FileNotFoundError, match="missing"):
        read_another()

    def full_disk() -> None:
        with atomic_path(tmp_path / "a.bin"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UsageError, match=r"cannot write .*a\.bin: No space left on device; choose another place$"):
        full_disk()


def test_a_folder_in_the_way_of_a_file_is_named(tmp_path):
    with pytest.raises(UsageError, match="is a folder"):
        refuse_folder(tmp_path)
    with pytest.raises(UsageError, match="cannot write"):
        atomic_write(tmp_path, b"")
    refuse_folder(tmp_path / "new")


def test_digest_of_a_file_is_that_of_its_bytes(tmp_path):
    atomic_write(tmp_path / "a", b"x" * 3_000_000)
    assert sha256_file(tmp_path / "a") == sha256_bytes(b"x" * 3_000_000)


def test_overwriting_needs_force(tmp_path):
    refuse_overwrite(tmp_path / "new", force=False)
    (tmp_path / "empty").mkdir()
    refuse_overwrite(tmp_path / "empty", force=False)
    atomic_write(tmp_path / "old", b"")
    with pytest.raises(UsageError, match=r"give force=True to replace it$"):
        refuse_overwrite(tmp_path / "old", force=False)
    refuse_overwrite(tmp_path / "old", force=True)


def test_temporary_files_of_a_killed_process_go_with_the_next_write(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    target, host = tmp_path / "a.b[1].npz", host_name()
    left, running = (tmp_path / f".{target.name}.{host}.{pid}.00ff.tmp" for pid in (ended.pid, os.getpid()))
    other = tmp_path / f".other.npz.{host}.{ended.pid}.00ff.tmp"
    for path in (left, running, other):
        path.touch()
    atomic_write(target, b"1")
    assert set(tmp_path.iterdir()) == {target, running, other}


def test_files_that_belong_together_are_all_there_before_the_first_takes_its_place(tmp_path):
    first, second = tmp_path / "a", tmp_path / "b"
    first.write_bytes(b"old")
    second.write_bytes(b"old")
    with pytest.raises(UsageError, match="cannot write"), atomic_paths([first, second]) as (one, two):
        one.write_bytes(b"new")  # and nothing for the second
    assert (first.read_bytes(), second.read_bytes()) == (b"old", b"old")
    with atomic_paths([first, second]) as (one, two):
        one.write_bytes(b"new")
        two.write_bytes(b"new")
    assert (first.read_bytes(), second.read_bytes()) == (b"new", b"new")
    assert set(tmp_path.iterdir()) == {first, second}


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_what_is_no_plain_file_is_refused_in_one_line(tmp_path, kind):
    path = tmp_path / "x"
    if kind == "folder":
        path.mkdir()
    else:
        os.mkfifo(path)
    with pytest.raises(BundleError, match=f"is a {kind}, not a file"):
        read_regular(path, most=9, error=BundleError)
    with pytest.raises(BundleError, match=f"is a {kind}, not a file"), open_regular(path, error=BundleError):
        pass

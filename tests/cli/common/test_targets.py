from __future__ import annotations

import os
import subprocess
import sys

import pytest
from glow_cli.common import targets
from glow_cli.common.targets import check_target, is_folder, open_folder, write_whole

from glow_core.temporaries import host_name, temporary_name
from glow_deploy.engines import open as engines_open
from glow_deploy.engines import pair as engines_pair
from glow_deploy.errors import UsageError


def test_places_that_can_be_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.png").write_bytes(b"old")
    for path in (tmp_path / "new.png", tmp_path / "there.png", (tmp_path / "new.png").relative_to(tmp_path)):
        check_target(path)
    assert (tmp_path / "there.png").read_bytes() == b"old"


def test_places_that_cannot(tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    for path, word in ((tmp_path, "is a folder"), (tmp_path / "gone" / "x", "no such folder")):
        with pytest.raises(UsageError, match=word):
            check_target(path)
    with pytest.raises(UsageError, match="no such folder"):
        check_target(tmp_path / "file" / "x")
    # Not with chmod: root writes everywhere.
    monkeypatch.setattr(targets.os, "access", lambda path, _mode: path != tmp_path)
    with pytest.raises(UsageError, match="read-only"):
        check_target(tmp_path / "x.png")


@pytest.mark.parametrize(
    "command",
    [
        ["sample", "--engine", "{decoder}", "--out", "{out}.png"],
        ["sample", "--engine", "{decoder}", "--out", "{out}.npz"],
        ["interpolate", "{bundle}", "{picture}", "{picture}", "--out", "{out}.gif"],
        ["edit", "{bundle}", "{picture}", "--directions", "none", "-a", "hat", "--out", "{out}.png"],
        ["directions", "{bundle}", "--data", "faces", "--out", "{out}.npz"],
        ["score", "{bundle}", "{picture}", "--out", "{out}.csv"],
        ["score", "{bundle}", "{picture}", "--histogram", "{out}.png"],
    ],
)
def test_every_command_looks_before_an_engine_is_opened(command, invoke, model, pictures, place, monkeypatch):
    def opened(*_arguments, **_options):
        pytest.fail("an engine was opened")

    for module in (engines_open, engines_pair):
        monkeypatch.setattr(module, "open_engine", opened)
    words = {"decoder": model.decoder, "bundle": model.bundle, "picture": pictures[0], "out": place / "gone" / "x"}
    result = invoke(*(word.format(**words) for word in command))
    assert result.exit_code == 2
    assert "no such folder" in result.stderr
    assert not list(place.iterdir())


def test_what_a_killed_command_left_in_a_folder_goes_and_what_a_running_one_writes_stays(tmp_path):
    host = host_name()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, running = (tmp_path / f".picture.{host}.{pid}.00ff.tmp" for pid in (ended.pid, os.getpid()))
    others = tmp_path / f".picture.{host}x.{ended.pid}.00ff.tmp", tmp_path / ".mine.tmp", tmp_path / "a.png"
    for path in (left, running, *others):
        path.touch()
    open_folder(tmp_path)
    assert set(tmp_path.iterdir()) == {running, *others}
    write_whole(tmp_path / "a.png", b"1")
    assert set(tmp_path.iterdir()) == {running, *others}


def test_out_is_a_folder_or_a_png(tmp_path):
    assert is_folder(tmp_path)
    assert is_folder(tmp_path / "new")
    assert not is_folder(tmp_path / "new.PNG")
    with pytest.raises(UsageError, match="PNG"):
        is_folder(tmp_path / "new.jpg")


def test_a_link_left_under_a_temporary_name_is_not_followed(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    monkeypatch.setattr("secrets.token_hex", lambda count: "guessed")
    write_whole(tmp_path / "a.png", b"whole")
    assert (tmp_path / "a.png").read_bytes() == b"whole"
    link = tmp_path / temporary_name("picture", token="guessed")
    link.symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_whole(tmp_path / "b.png", b"attack")
    assert victim.read_text() == "precious"


def test_an_interrupted_write_leaves_nothing(tmp_path, monkeypatch):
    def fail(self, target):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="Input"):
        write_whole(tmp_path / "a.png", b"whole")
    assert list(tmp_path.iterdir()) == []

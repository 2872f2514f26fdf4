from __future__ import annotations

import os
import subprocess
import sys

import pytest
from glow_cli.common import targets
from glow_cli.common.targets import check_target, open_folder, write_whole

from glow_deploy.artifact.switch import host_name
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

"""Files of a run's folder that lead out of it, or are none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from training_toys import toy_training

from glow_core.errors import TrainingError
from glow_core.locks import LOCK_NAME
from glow_core.training.folder import open_own, refuse_link

WAYS = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_CREAT, os.O_WRONLY | os.O_CREAT | os.O_APPEND)


def make(kind: str, path: Path) -> None:
    match kind:
        case "link":
            (path.parent / "victim").write_text("precious\n" * 5)
            path.symlink_to("victim")
        case "dangling":
            path.symlink_to("nowhere")
        case "loop":
            path.symlink_to(path.name)
        case "folder":
            path.mkdir()
        case "pipe":
            os.mkfifo(path)
        case "device":
            path.symlink_to("/dev/null")


@pytest.mark.skipif(os.name != "posix", reason="pipes are made as POSIX has them")
@pytest.mark.parametrize("flags", WAYS)
@pytest.mark.parametrize("kind", ["link", "dangling", "loop", "folder", "pipe", "device"])
def test_what_is_no_plain_file_is_refused_in_one_line(tmp_path, kind, flags):
    path = tmp_path / "x"
    make(kind, path)
    with pytest.raises(TrainingError, match="remove it") as error:
        open_own(path, flags)
    assert str(error.value).startswith(f"{path} is ")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "nowhere").exists()


def test_a_link_that_comes_after_the_look_is_not_followed(tmp_path, monkeypatch):
    if not hasattr(os, "O_NOFOLLOW"):
        pytest.skip("this system opens no file without following links")
    make("link", tmp_path / "x")
    monkeypatch.setattr(Path, "is_symlink", lambda self: False)
    with pytest.raises(TrainingError, match="not a plain file"):
        open_own(tmp_path / "x", os.O_RDWR | os.O_CREAT)


def test_a_plain_file_is_opened_and_made(tmp_path):
    for _ in range(2):
        handle = open_own(tmp_path / "x", os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.write(handle, b"1")
        os.close(handle)
    assert (tmp_path / "x").read_bytes() == b"11"
    refuse_link(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        open_own(tmp_path / "none", os.O_RDONLY)


@pytest.mark.parametrize("again", [{"resume": True}, {"overwrite": True}])
@pytest.mark.parametrize("name", [LOCK_NAME, "log.csv", "tensorboard"])
def test_a_strangers_run_cannot_lead_a_session_out_of_its_folder(tmp_path, name, again):
    run, victim = tmp_path / "run", tmp_path / "victim"
    toy_training(run, max_steps=2)
    before = (run / "ckpt.pt").read_bytes()
    if name == "tensorboard":
        victim.mkdir()
        (victim / "events.out.tfevents.1.other").write_text("precious")
    else:
        victim.write_text("precious\n" * 5)
    (run / name).unlink(missing_ok=True)
    (run / name).symlink_to(victim)
    with pytest.raises(TrainingError, match=f"{name} is a link"):
        toy_training(run, max_steps=3, tensorboard=name == "tensorboard", **again)
    kept = victim / "events.out.tfevents.1.other" if victim.is_dir() else victim
    assert kept.read_text().startswith("precious")
    assert (run / "ckpt.pt").read_bytes() == before


def test_a_checkpoint_that_is_a_link_is_replaced_and_not_written_through(tmp_path):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere.pt"
    toy_training(run, max_steps=2)
    (run / "ckpt.pt").rename(elsewhere)
    (run / "ckpt.pt").symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    toy_training(run, max_steps=3, resume=True)
    assert elsewhere.read_bytes() == before
    assert not (run / "ckpt.pt").is_symlink()

from __future__ import annotations

import json

import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.errors import EngineError, UsageError
from glow_deploy.serving import TritonSettings, write_repository
from glow_deploy.serving.repository import MARKER


def everything(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_graphs_are_the_bundles_and_two_runs_give_the_same_bytes(bundle, tmp_path):
    digests = write_repository(bundle, tmp_path / "a")
    write_repository(bundle, tmp_path / "b")
    files = everything(tmp_path / "a")
    assert files == everything(tmp_path / "b")
    assert set(files) == {*digests, MARKER}
    for role in ("encoder", "decoder"):
        assert files[f"glow-{role}/1/model.onnx"] == (bundle / f"{role}.onnx").read_bytes()
    golden = Bundle.open(bundle).golden()
    assert files["glow-encoder/warmup/x"] == golden.x[:1].tobytes()
    assert files["glow-decoder/warmup/z2"] == golden.z[1][:1].astype("float32").tobytes()
    assert json.loads(files[MARKER])["model_id"] == Bundle.open(bundle).manifest.model_id


def test_a_repository_is_replaced_on_demand_and_nothing_else_ever(bundle, other_bundle, tmp_path):
    place = tmp_path / "repo"
    write_repository(bundle, place)
    before = everything(place)
    with pytest.raises(UsageError, match="force=True"):
        write_repository(other_bundle, place)
    (place / "glow-encoder" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"glow-encoder/notes\.txt"):
        write_repository(other_bundle, place, settings=TritonSettings(force=True))
    (place / "glow-encoder" / "notes.txt").unlink()
    assert everything(place) == before
    write_repository(other_bundle, place, settings=TritonSettings(force=True, name="other"))
    assert not (place / "glow-encoder").exists()
    assert (place / "other-encoder").is_dir()
    assert [path.name for path in tmp_path.iterdir()] == ["repo"]


def test_what_was_changed_by_hand_is_never_lost(bundle, tmp_path):
    place = tmp_path / "repo"
    write_repository(bundle, place)
    tuned = place / "glow-encoder" / "config.pbtxt"
    tuned.write_text(tuned.read_text() + "# two instances are enough here\n")
    before = everything(place)
    with pytest.raises(
        UsageError, match=r"glow-encoder/config\.pbtxt, which this tool did not write, or not like that"
    ):
        write_repository(bundle, place, settings=TritonSettings(force=True))
    assert everything(place) == before


def test_a_list_of_somebody_elses_files_makes_no_repository(bundle, tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("x")
    for files in ({"thesis.txt": "0" * 64}, {"thesis.txt": None}, ["thesis.txt"], {"../mine/thesis.txt": "x"}, 3):
        (mine / MARKER).write_text(json.dumps({"files": files}))
        with pytest.raises(UsageError):
            write_repository(bundle, mine, settings=TritonSettings(force=True))
    assert (mine / "thesis.txt").read_text() == "x"


def test_a_repository_that_a_server_has_run_is_replaced(bundle, tmp_path):
    place = tmp_path / "repo"
    write_repository(bundle, place)
    for folder in ("glow-score/1", "glow-encoder/1"):
        (place / folder / "__pycache__").mkdir()
    (place / "glow-score" / "1" / "__pycache__" / "model.cpython-312.pyc").write_bytes(b"of our model.py")
    write_repository(bundle, place, settings=TritonSettings(force=True))
    assert not list(place.rglob("__pycache__"))
    (place / "glow-encoder" / "1" / "__pycache__").mkdir()
    (place / "glow-encoder" / "1" / "__pycache__" / "model.cpython-312.pyc").write_bytes(b"of no file of ours")
    with pytest.raises(UsageError, match="glow-encoder/1/__pycache__"):
        write_repository(bundle, place, settings=TritonSettings(force=True))


def test_a_folder_of_somebody_else_is_refused(bundle, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    (tmp_path / "file").write_text("x")
    for place in (tmp_path / "mine", tmp_path / "file", tmp_path / "missing" / "repo"):
        with pytest.raises(UsageError):
            write_repository(bundle, place, settings=TritonSettings(force=True))
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x"


def test_a_write_that_fails_leaves_the_old_one(bundle, tmp_path, monkeypatch):
    place = tmp_path / "repo"
    write_repository(bundle, place)
    before = everything(place)
    from glow_deploy.artifact import whole_folder

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_folder, "exchange", full)
    with pytest.raises(UsageError, match="No space left"):
        write_repository(bundle, place, settings=TritonSettings(force=True, max_batch=8))
    assert everything(place) == before
    assert [path.name for path in tmp_path.iterdir()] == ["repo"]


def test_plans_that_are_not_there_are_told_how_to_make(bundle, tmp_path):
    with pytest.raises(EngineError, match="--flavor tensorrt"):
        write_repository(bundle, tmp_path / "repo", settings=TritonSettings(backend="tensorrt"))
    assert not (tmp_path / "repo").exists()

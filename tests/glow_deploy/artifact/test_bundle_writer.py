"""Writing bundles: whole or not at all, and never over what is not one."""

from __future__ import annotations

import errno
import os
from dataclasses import replace

import pytest

from glow_deploy.artifact.bundle import Bundle
from glow_deploy.artifact.bundle_writer import BundleWriter, check_bundle_target
from glow_deploy.errors import UsageError


def write_bundle(path, manifest, files, *, force):
    with BundleWriter(path, force=force) as writer:
        for name, data in files.items():
            writer.write(name, data)
        return writer.finish(manifest)


def _names_and_bytes(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_failed_replacement_loses_nothing(bundle, monkeypatch):
    (bundle / "encoder.trt").write_bytes(b"plan")
    before = _names_and_bytes(bundle)
    manifest = replace(Bundle.open(bundle).manifest, golden_source=None)
    files = {"encoder.onnx": b"other", "decoder.onnx": b"other"}

    def fail(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail)
        with pytest.raises(UsageError, match="cannot write"):
            write_bundle(bundle, manifest, files, force=True)
    assert _names_and_bytes(bundle) == before
    write_bundle(bundle, manifest, files, force=True)
    assert set(_names_and_bytes(bundle)) == {"manifest.json", "encoder.onnx", "decoder.onnx"}


def test_a_new_bundle_appears_whole(bundle, tmp_path):
    manifest = replace(Bundle.open(bundle).manifest, golden_source=None)
    target = tmp_path / "new"
    with BundleWriter(target, force=False) as writer:
        writer.write("encoder.onnx", b"1")
        writer.write("decoder.onnx", b"2")
        assert not target.exists()
        writer.finish(manifest)
    assert set(_names_and_bytes(target)) == {"manifest.json", "encoder.onnx", "decoder.onnx"}
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("made", [False, True])
def test_what_was_not_finished_is_removed(tmp_path, made):
    target = tmp_path / "new"
    if made:
        target.mkdir()
    with BundleWriter(target, force=False) as writer:
        writer.write("encoder.onnx", b"1")
        assert len(list(tmp_path.rglob("encoder.onnx"))) == 1
    assert [path.name for path in tmp_path.rglob("*")] == (["new"] if made else [])


def test_what_a_killed_export_left_is_in_nobodys_way(bundle, tmp_path):
    manifest = replace(Bundle.open(bundle).manifest, golden_source=None)
    target = tmp_path / "new"
    target.mkdir()
    writer = BundleWriter(target, force=False)
    writer.__enter__().write("encoder.onnx", b"1")  # and never left
    assert list(tmp_path.glob("*.unfinished"))
    write_bundle(target, manifest, {"encoder.onnx": b"1", "decoder.onnx": b"2"}, force=False)
    assert Bundle.open(target).file("encoder.onnx").read_bytes() == b"1"


def test_what_a_killed_export_left_is_cleared_up_by_the_next(bundle, tmp_path, monkeypatch):
    from glow_core import temporaries as module

    manifest = replace(Bundle.open(bundle).manifest, golden_source=None)
    target = tmp_path / "new"
    BundleWriter(target, force=False).__enter__().write("encoder.onnx", b"1")
    (running,) = tmp_path.glob("*.unfinished")
    files = {"encoder.onnx": b"1", "decoder.onnx": b"2"}
    write_bundle(target, manifest, files, force=False)
    assert running.is_dir()  # its process, this one, is still there
    monkeypatch.setattr(module, "is_running", lambda pid: False)
    write_bundle(tmp_path / "other", manifest, files, force=False)
    assert running.is_dir()  # of another target
    write_bundle(target, manifest, files, force=True)
    assert not running.exists()


def test_a_link_to_nothing_is_noticed_beforehand(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="link to nothing"):
        check_bundle_target(tmp_path / "link", force=True)


def test_a_target_taken_meanwhile_is_kept(bundle, tmp_path):
    manifest = replace(Bundle.open(bundle).manifest, golden_source=None)
    target = tmp_path / "new"
    with BundleWriter(target, force=False) as writer:
        target.mkdir()
        (target / "manifest.json").write_bytes(b"another's")
        with pytest.raises(UsageError, match="exists already"):
            writer.finish(manifest)
    assert _names_and_bytes(target) == {"manifest.json": b"another's"}


@pytest.mark.parametrize("name", ["decoder.onnx", "golden.npz", "encoder.trt", "decoder.rtx.trt.json"])
def test_a_folder_in_the_way_is_named_beforehand(bundle, name):
    (bundle / name).unlink(missing_ok=True)
    (bundle / name).mkdir()
    with pytest.raises(UsageError, match=f"{name} is a folder"):
        check_bundle_target(bundle, force=True)
    (bundle / name).rmdir()
    check_bundle_target(bundle, force=True)

import errno
import json
import os
from dataclasses import replace

import numpy as np
import pytest

from glow_core import GlowConfig, save_checkpoint
from glow_deploy.artifact.bundle import Bundle, BundleWriter, check_bundle_target
from glow_deploy.errors import BundleError, UsageError
from glow_deploy.export import ExportSettings, export


def write_bundle(path, manifest, files, *, force):
    with BundleWriter(path, force=force) as writer:
        for name, data in files.items():
            writer.write(name, data)
        return writer.finish(manifest)


@pytest.fixture(scope="module")
def exported(perturbed_glow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    save_checkpoint(perturbed_glow(GlowConfig(image_size=(4, 4), levels=1, steps=1, width=4)), folder / "c.pt")
    return export(folder / "c.pt", out=folder / "b", settings=ExportSettings(golden=3))


@pytest.fixture
def bundle(exported, tmp_path):
    """A copy that a test may damage."""
    for path in exported.path.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx", "golden.npz"])
@pytest.mark.parametrize("damage", ["flip", "cut", "gone"])
def test_every_listed_file_is_checked(bundle, name, damage):
    data = bytearray((bundle / name).read_bytes())
    if damage == "gone":
        (bundle / name).unlink()
    elif damage == "cut":
        (bundle / name).write_bytes(data[:-1])
    else:
        data[len(data) // 2] ^= 1
        (bundle / name).write_bytes(data)
    with pytest.raises(BundleError, match=name):
        Bundle.open(bundle).file(name)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(format_version=2), "format 2"),
        (lambda m: m.pop("format_version"), "not a manifest"),
        (lambda m: m.pop("precision"), "precision"),
        (lambda m: m.update(extra=1), "extra"),
        (lambda m: m.update(model={}), "missing or malformed"),
        (lambda m: m["model"].update(levels=3), "missing or malformed"),
        (lambda m: m["model"].update(n_bits="many"), "missing or malformed"),
        (lambda m: m.update(files={}), "encoder.onnx"),
        (lambda m: m["files"].update({"encoder.onnx": "abc"}), "files.encoder.onnx"),
        (lambda m: m["files"].update({"../../etc/passwd": "0" * 64}), "files"),
        (lambda m: m.update(golden_source=None), "golden_source"),
        (lambda m: m.update(numerics=3), "numerics"),
        (lambda m: m.update(tensors=[]), "missing or malformed"),
        (lambda m: m.update(format_version=True), "format"),
        (lambda m: m.update(format_version=1.0), "format"),
        *(
            (lambda m, name=name, value=value: m["model"].update({name: value}), f"model.{name}")
            for name in ("n_bits", "levels", "num_classes", "channels", "steps", "width")
            for value in (float("inf"), -1, 0, 5.7, True, "3", 10**30)
        ),
        (lambda m: m["model"].update(image_size=[-6, 4]), "model.image_size"),
        (lambda m: m["model"].update(image_size=[4, 4.0]), "model.image_size"),
        (lambda m: m["model"].update(image_size=[4, 6], levels=2), "model.levels"),
        (lambda m: m["model"].update(num_classes=4), "tensors.encoder.inputs"),
        (lambda m: m["model"].update(image_size=[8, 4]), "tensors.encoder.inputs"),
        (lambda m: m["tensors"]["decoder"].update(outputs={}), "tensors.decoder.outputs"),
        (lambda m: m["tensors"]["encoder"]["outputs"]["z1"].update(shape=[-12, 2, 2]), "tensors.encoder.outputs"),
        (lambda m: m["tensors"]["decoder"]["inputs"]["z1"].update(dtype="float64"), "tensors.decoder.inputs"),
        (lambda m: m["tensors"]["encoder"]["outputs"].update(z2={"dtype": "float32", "shape": []}), "encoder.outputs"),
        (lambda m: m.update(precision=7), "precision"),
        (lambda m: m.update(weights=None), "weights"),
        (lambda m: m.update(model_id="x"), "model_id"),
        (lambda m: m.update(golden_source="elsewhere"), "golden_source"),
        (lambda m: m["model"].update(channels=2), "model.channels"),
        (lambda m: m["model"].update(bounded_scale=1), "model.bounded_scale"),
        (lambda m: m["model"].update(coupling=None), "model.coupling"),
        (lambda m: m["model"].update(edge_bias=1), "model.edge_bias"),
        (lambda m: m["model"].update(prior="none"), "model.prior"),
        (lambda m: m["model"].update(prior=[]), "model.prior"),
    ],
)
def test_a_damaged_manifest_is_one_clear_error(bundle, change, words):
    manifest = json.loads((bundle / "manifest.json").read_text())
    change(manifest)
    # Python writes infinity as a word that is no JSON; other writers as a number beyond float64.
    (bundle / "manifest.json").write_text(json.dumps(manifest).replace("Infinity", "1e999"))
    with pytest.raises(BundleError, match=words) as raised:
        Bundle.open(bundle)
    assert "manifest.json" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format_version": 1}'])
def test_other_bytes_are_no_manifest(bundle, data):
    (bundle / "manifest.json").write_bytes(data)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        Bundle.open(bundle)


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
    import glow_deploy.artifact.leftovers as module

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


def test_what_is_no_bundle_is_told_apart(bundle, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="not a bundle"):
        Bundle.open(tmp_path / "empty")
    with pytest.raises(BundleError, match="is a file"):
        Bundle.open(bundle / "encoder.onnx")
    with pytest.raises(BundleError, match="no such"):
        Bundle.open(tmp_path / "none")


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g.update(x=g["x"].astype(np.float64)),
        lambda g: g.update(z1=g["z1"][:, :2]),
        lambda g: g.update(log_prob=g["log_prob"][:2]),
        lambda g: g.pop("x_hat"),
        lambda g: g["x_hat"].fill(np.nan),
        lambda g: g.update(x=np.array([{}], dtype=object)),
    ],
)
def test_golden_vectors_that_do_not_fit_are_refused(bundle, change):
    from glow_deploy.artifact.files import sha256_file

    with np.load(bundle / "golden.npz") as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(bundle / "golden.npz", **arrays)
    manifest = json.loads((bundle / "manifest.json").read_text())
    manifest["files"]["golden.npz"] = sha256_file(bundle / "golden.npz")
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"golden\.npz"):
        Bundle.open(bundle).golden()

"""What is written for another program to be fed with."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace

import numpy as np
import pytest

from glow_deploy.errors import UsageError
from glow_deploy.offline import golden_inputs, write_inputs


def test_a_folder_holds_every_tensor_in_two_formats_and_an_index(bundle, tmp_path):
    inputs = golden_inputs(bundle)
    files = write_inputs(inputs, tmp_path / "in")
    assert {file.name for file in files} == {file.name for file in (tmp_path / "in").iterdir()}
    index = json.loads((tmp_path / "in" / "index.json").read_text())
    golden = bundle.golden()
    assert index["images"] == len(golden)
    assert index["inputs_sha256"] == inputs.digest
    for name, entry in index["inputs"].items():
        raw = np.fromfile(tmp_path / "in" / entry["file"], entry["dtype"]).reshape(entry["shape"])
        np.testing.assert_array_equal(raw, inputs.tensors[name])
        place, _, tensor = name.partition(".")
        (feed,) = json.loads((tmp_path / "in" / f"{place}.inputs.json").read_text())
        array = np.load(io.BytesIO(base64.b64decode(feed[tensor]["array"])), allow_pickle=False)
        np.testing.assert_array_equal(array, raw)
    np.testing.assert_array_equal(inputs.tensors["encoder.x"], golden.x)
    np.testing.assert_array_equal(inputs.tensors["decoder.z2"], golden.z[1].astype(np.float32))
    assert index["outputs"]["encoder.z1"]["shape"] == [16, 6, 4, 8]
    assert index["outputs"]["canary.x"]["shape"] == [32, 128, 16, 16]


def test_a_batch_splits_what_polygraphy_loads_and_no_image_is_lost(bundle, tmp_path):
    write_inputs(golden_inputs(bundle), tmp_path / "in", batch=6)
    feeds = json.loads((tmp_path / "in" / "encoder.inputs.json").read_text())
    parts = [np.load(io.BytesIO(base64.b64decode(feed["x"]["array"]))) for feed in feeds]
    assert [len(part) for part in parts] == [6, 6, 4]
    np.testing.assert_array_equal(np.concatenate(parts), bundle.golden().x)
    assert len(json.loads((tmp_path / "in" / "canary.inputs.json").read_text())) == 1  # its size is its own


def test_an_archive_holds_the_same_with_the_canary_beside_it(bundle, tmp_path):
    import onnx

    inputs = golden_inputs(bundle, limit=3)
    archive, canary = write_inputs(inputs, tmp_path / "in.npz")
    with np.load(archive, allow_pickle=False) as found:
        assert found["inputs_sha256"].tolist() == [inputs.digest]
        for name, array in inputs.tensors.items():
            np.testing.assert_array_equal(found[name], array)
    onnx.checker.check_model(onnx.load(canary))


def test_the_digest_tells_inputs_apart(bundle):
    every, few = golden_inputs(bundle), golden_inputs(bundle, limit=3)
    assert every.digest == golden_inputs(bundle, limit=99).digest != few.digest
    assert len(few.tensors["decoder.z1"]) == few.images == 3
    assert few.digests == every.digests[:3]
    assert len(set(every.digests)) == every.images
    changed = {**every.tensors, "decoder.z1": every.tensors["decoder.z1"] + np.float32(1e-6)}
    for other in (replace(every, tensors=changed), replace(every, graphs=(every.graphs[0], "0" * 64))):
        assert not set(other.digests) & set(every.digests)


def test_labels_are_fed_as_well(making, tmp_path):
    made = making.export_model(tmp_path / "m", golden=4, num_classes=3, steps=1, width=4)
    tensors = golden_inputs(made.bundle).tensors
    assert tensors["encoder.y"].dtype == tensors["decoder.y"].dtype == np.int64
    np.testing.assert_array_equal(tensors["encoder.y"], tensors["decoder.y"])


def test_nothing_is_overwritten_unasked(bundle, tmp_path):
    inputs = golden_inputs(bundle, limit=1)
    for name in ("in", "in.npz"):
        write_inputs(inputs, tmp_path / name)
        with pytest.raises(UsageError, match="exists already"):
            write_inputs(inputs, tmp_path / name)
        write_inputs(inputs, tmp_path / name, force=True)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(UsageError, match="no folder"):
        write_inputs(inputs, tmp_path / "file", force=True)
    with pytest.raises(UsageError, match="cannot make the folder"):
        write_inputs(inputs, tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "mine"


def test_every_target_is_looked_at_before_anything_is_written(bundle, tmp_path):
    inputs = golden_inputs(bundle, limit=1)
    (tmp_path / "in.canary.onnx").write_text("mine")
    with pytest.raises(UsageError, match=r"in.canary.onnx exists already"):
        write_inputs(inputs, tmp_path / "in.npz")
    assert (tmp_path / "in.canary.onnx").read_text() == "mine"
    assert not (tmp_path / "in.npz").exists()
    with pytest.raises(UsageError, match="batch= is for what Polygraphy loads"):
        write_inputs(inputs, tmp_path / "other.npz", batch=2)
    write_inputs(inputs, tmp_path / "in")
    for stray in ("encoder.y.bin", "decoder.x.bin", "round_trip"):
        (tmp_path / "in" / stray).write_text("old")
        before = (tmp_path / "in" / "index.json").read_bytes()
        with pytest.raises(UsageError, match=f"holds {stray}, which is not of these inputs"):
            write_inputs(golden_inputs(bundle), tmp_path / "in", force=True)
        assert (tmp_path / "in" / "index.json").read_bytes() == before
        (tmp_path / "in" / stray).unlink()
    (tmp_path / "in" / "notes.txt").write_text("mine")
    write_inputs(golden_inputs(bundle), tmp_path / "in", force=True)


def test_without_golden_vectors_there_is_nothing_to_feed(making, tmp_path):
    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy.export import export

    config = GlowConfig(image_size=(8, 8), levels=1, steps=1, width=4)
    save_checkpoint(making.perturbed_glow(config, seed=0), tmp_path / "c.pt")
    bare = export(tmp_path / "c.pt", out=tmp_path / "b", golden=None)
    with pytest.raises(UsageError, match="no golden vectors to feed"):
        golden_inputs(bare)

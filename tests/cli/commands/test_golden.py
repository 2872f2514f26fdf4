"""`glow-deploy golden`, and `verify --outputs` on what a program made of it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnxruntime
import pytest


@pytest.fixture
def fed(model, invoke, place):
    """A folder of inputs, and an .npz file of what ONNX Runtime makes of them."""
    result = invoke("golden", model.bundle, "--inputs", "in", "--json", "golden.json")
    assert result.exit_code == 0, result.output
    index = json.loads(Path("in/index.json").read_text())
    x = np.fromfile("in/encoder.x.bin", "<f4").reshape(index["inputs"]["encoder.x"]["shape"])
    session = onnxruntime.InferenceSession(model.encoder, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    made = dict(zip(names, session.run(None, {"x": x}), strict=True))
    np.savez("out.npz", inputs_sha256=index["inputs_sha256"], **made)
    return made


def test_inputs_are_written_and_outputs_judged(model, invoke, fed):
    document = json.loads(Path("golden.json").read_text())
    assert set(document["files"]) == {str(file) for file in Path("in").iterdir()}
    words = ("verify", model.bundle, "--backend", "onnxruntime-cpu", "--random-draws", 0)
    result = invoke(*words, "--outputs", "out.npz")
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("sound as far as outputs were saved")
    np.savez("renamed.npz", first=fed["z1"] * 0.5, second=fed["z2"])
    renames = ("--rename", "first=encoder.z1", "--rename", "second=encoder.z2")
    result = invoke(*words, "--outputs", "renamed.npz", *renames, "--json", "r.json")
    assert result.exit_code == 1
    assert "z1 comes back scaled by 0.50" in " ".join(result.stdout.split())
    command = json.loads(Path("r.json").read_text())["command"]
    assert "--outputs renamed.npz" in command
    assert "--rename first=encoder.z1" in command


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--outputs", "nowhere"), "nowhere: no such file or folder"),
        (("--outputs", "renamed.npz"), "which --rename may pair with one of ours"),
        (("--rename", "a=encoder.z1"), "--rename is for the names in --outputs"),
        (("--outputs", "out.npz", "--rename", "z1"), "--rename names z1, which is no pair THEIRS=OURS"),
    ],
)
def test_what_is_wrong_with_outputs_is_one_line(model, invoke, fed, words, said):
    np.savez("renamed.npz", first=fed["z1"])
    result = invoke("verify", model.bundle, "--backend", "onnxruntime-cpu", *words)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_is_there_is_kept(model, invoke, fed):
    result = invoke("golden", model.bundle, "--inputs", "in")
    assert result.exit_code == 2
    assert "exists already; give --force" in result.stderr
    assert invoke("golden", model.bundle, "--inputs", "in", "--limit", 2, "--force", "--quiet").stdout == ""
    assert json.loads(Path("in/index.json").read_text())["images"] == 2

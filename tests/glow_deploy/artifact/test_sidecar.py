from __future__ import annotations

import json
from pathlib import Path

import pytest

from glow_deploy.artifact.sidecar import Sidecar, read_sidecar, sidecar_path
from glow_deploy.errors import BundleError
from glow_deploy.protocol import TensorSpec

SIDECAR = Sidecar(
    sha256="1" * 64,
    onnx_sha256="2" * 64,
    flavor="rtx",
    version="1.7.1.116",
    tf32=False,
    version_compatible=True,
    hardware_compatible=False,
    profile=(1, 8, 64),
    gpus=("sm86", "sm120"),
    metadata={"glow_deploy.role": "encoder"},
    inputs=(TensorSpec(name="x", dtype="float32", shape=(3, 4, 4)),),
    outputs=(TensorSpec(name="log_prob", dtype="float32", shape=()),),
)


def test_every_field_comes_back_and_the_bytes_are_the_same_every_time():
    text = SIDECAR.to_json()
    again = Sidecar.from_json(text, source="s")
    assert again == SIDECAR
    assert again.to_json() == text
    assert json.loads(text)["profile"] == {"min": 1, "opt": 8, "max": 64}


def test_it_lies_beside_its_plan(tmp_path):
    plan = tmp_path / "decoder.rtx.trt"
    assert sidecar_path(plan) == tmp_path / "decoder.rtx.trt.json"
    assert read_sidecar(plan) is None
    sidecar_path(plan).write_text(SIDECAR.to_json())
    assert read_sidecar(plan) == SIDECAR


def changed(**entries):
    return json.dumps({**json.loads(SIDECAR.to_json()), **entries})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "s is not JSON: it is damaged; compile again"),
        ("[" * 100_000, "s is not JSON"),
        ("[]", "s is not a sidecar of this release"),
        (changed(format_version=2), "s is not a sidecar of this release"),
        (changed(flavor="cuda"), "s: flavor must be tensorrt or rtx, found 'cuda'"),
        (changed(sha256=3), "s: sha256 is missing or not a str"),
        (changed(flags={"tf32": 1}), "s: tf32 is missing or not a bool"),
        (changed(profile={"min": True, "opt": 1, "max": 1}), "s: min is missing or not a int"),
        (changed(gpus=["sm86", 89]), "s: gpus holds something else than str"),
        (changed(inputs=["x"]), "s: a tensor is not described by an object"),
        (
            changed(outputs=[{"name": "x", "dtype": "float32", "shape": [1.5]}]),
            "s: shape holds something else than int",
        ),
    ],
)
def test_damage_is_told_by_its_field(text, message):
    with pytest.raises(BundleError, match=message):
        Sidecar.from_json(text, source="s")


def test_files_that_are_no_text_or_far_too_large_are_refused(tmp_path):
    plan = tmp_path / "e.trt"
    sidecar_path(plan).write_bytes(b"\xff\xfe")
    with pytest.raises(BundleError, match=r"e\.trt\.json cannot be read"):
        read_sidecar(plan)
    with Path(sidecar_path(plan)).open("wb") as file:
        file.truncate(2**20 + 1)
    with pytest.raises(BundleError, match=r"e\.trt\.json has 1048577 bytes; 1048576 at most"):
        read_sidecar(plan)

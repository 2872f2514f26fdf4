from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import pytest

from glow_deploy.artifact.sidecar import Sidecar, sidecar_path
from glow_deploy.errors import BundleError
from glow_deploy.inspect.plan import inspect_plan
from glow_deploy.protocol import TensorSpec

# A header as tensorrt_rtx 1.7.1 writes it, for sm86 and sm89, and nothing runnable behind.
PLAN = (
    b"vtrt" + bytes(12) + struct.pack("<Q", 400) + bytes((1, 7, 1, 116)) + bytes(4) + struct.pack("<I", 0b001100)
).ljust(400, b"\x5a")


@pytest.fixture
def plan(tmp_path):
    path = tmp_path / "encoder.rtx.trt"
    path.write_bytes(PLAN)
    return path


@pytest.fixture
def sidecar(tiny):
    return Sidecar(
        sha256=hashlib.sha256(PLAN).hexdigest(),
        onnx_sha256="2" * 64,
        flavor="rtx",
        version="1.7.1.116",
        tf32=True,
        version_compatible=False,
        hardware_compatible=False,
        profile=(1, 2, 4),
        gpus=("sm86", "sm89"),
        metadata={**tiny.METADATA, "glow_deploy.role": "encoder"},
        inputs=(TensorSpec(name="x", dtype="float32", shape=(1, 4, 4)),),
        outputs=(TensorSpec(name="z1", dtype="float32", shape=(4, 2, 2)),),
    )


def test_a_plan_without_a_sidecar_is_told_by_its_header(plan):
    found = inspect_plan(plan)
    assert (found.kind, found.path, found.tables) == ("plan", str(plan), {})
    assert found.facts == {
        "size": 400,
        "sha256": hashlib.sha256(PLAN).hexdigest(),
        "flavor": "TensorRT for RTX",
        "tensorrt_version": "1.7.1.116",
        "targets": ["sm86", "sm89"],
        "sidecar": None,
    }


def test_a_sidecar_adds_what_the_plan_does_not_say(plan, sidecar):
    sidecar_path(plan).write_text(sidecar.to_json())
    found = inspect_plan(plan)
    assert found.facts["matches_sidecar"] is True
    assert (found.facts["tf32"], found.facts["role"], found.facts["n_bits"]) == (True, "encoder", 5)
    assert found.facts["batches"] == {"min": 1, "opt": 2, "max": 4}
    assert found.tables["signature"] == [
        {"way": "in", "name": "x", "type": "float32", "shape": ["batch", 1, 4, 4]},
        {"way": "out", "name": "z1", "type": "float32", "shape": ["batch", 4, 2, 2]},
    ]


def test_the_sidecar_of_another_plan_is_a_fact_and_a_damaged_one_an_error(plan, sidecar):
    sidecar_path(plan).write_text(replace(sidecar, sha256="1" * 64).to_json())
    assert inspect_plan(plan).facts["matches_sidecar"] is False
    sidecar_path(plan).write_text("{")
    with pytest.raises(BundleError, match="is not JSON"):
        inspect_plan(plan)


def test_a_plan_that_is_cut_short_is_refused(plan):
    plan.write_bytes(PLAN[:-1])
    with pytest.raises(BundleError, match=r"encoder\.rtx\.trt"):
        inspect_plan(plan)

from __future__ import annotations

import json
import re

import pytest


def test_compile_for_rtx_and_inspect_the_plan(invoke, own_model, place):
    pytest.importorskip("tensorrt_rtx", reason="TensorRT for RTX is not installed")
    result = invoke("compile", own_model.decoder, "--gpu", "sm86,sm89", "--max-batch", 4, "--json", "plans.json")
    assert result.exit_code == 0, result.output
    plan = own_model.bundle / "decoder.rtx.trt"
    found = json.loads(invoke("inspect", plan, "--json", "-").stdout)
    assert found["kind"] == "plan"
    assert found["flavor"] == "TensorRT for RTX"
    assert found["targets"] == ["sm86", "sm89"]
    assert found["matches_sidecar"] is True
    data = plan.read_bytes()
    plan.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "DIFFERS" in invoke("inspect", plan).output
    done = invoke("sample", "--engine", plan)
    assert done.exit_code == 2
    assert "sha256" in done.stderr or "GPU" in done.stderr


def options(result):
    """The options that a refusal names."""
    assert result.exit_code == 2, result.output
    return set(re.findall(r"--[a-z-]+", result.stderr))


def test_compiling_twice_takes_force_and_suggests_nothing_else(own_model, invoke):
    pytest.importorskip("tensorrt_rtx", reason="compiling needs tensorrt-rtx")
    assert invoke("compile", own_model.bundle).exit_code == 0
    assert options(invoke("compile", own_model.bundle)) == {"--force"}
    assert invoke("compile", own_model.bundle, "--force").exit_code == 0

from __future__ import annotations

import json
import re
import shlex

import pytest


def test_bench_a_bundle(invoke, model):
    result = invoke("bench", model.bundle, "--iterations", 3, "--warmup-ms", 0, "--batch", "1,4", "--json", "-")
    report = json.loads(result.stdout)
    rows = [(row["backend"], row["role"], row["batch"], row["runs"]) for row in report["timings"]]
    assert rows == [("onnxruntime-cpu", role, batch, 3) for role in ("encoder", "decoder") for batch in (1, 4)]
    assert all(0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"] for row in report["timings"])
    assert report["rate"]["flops_per_second"] > 0


def remedy(result):
    """The command that a refusal shows, as words; the refusal itself must be one line and exit 2."""
    assert result.exit_code == 2, result.output
    assert len(result.stderr.strip().splitlines()) == 1
    return shlex.split(re.search(r"`glow-deploy ([^`]*)`", result.stderr)[1])


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_bench_asks_for_plans_of_the_flavor_it_would_run(own_model, invoke, backend):
    words = remedy(invoke("bench", own_model.bundle, "--backend", backend))
    flavor = {"tensorrt": "tensorrt", "tensorrt-rtx": "rtx"}[backend]
    assert words == ["compile", str(own_model.bundle), "--flavor", flavor]
    if flavor == "rtx":
        pytest.importorskip("tensorrt_rtx", reason="compiling needs tensorrt-rtx")
        assert invoke(*words).exit_code == 0
        assert (own_model.bundle / "encoder.rtx.trt").is_file()


@pytest.mark.parametrize("command", ["interpolate", "verify"])
def test_plans_that_are_missing_come_by_the_command_shown(own_model, invoke, pictures, place, command):
    pytest.importorskip("tensorrt_rtx", reason="compiling needs tensorrt-rtx")
    asked = {
        "interpolate": ["interpolate", own_model.bundle, *pictures[:2], "--flavor", "rtx"],
        "verify": ["verify", own_model.bundle, "--backend", "tensorrt-rtx"],
    }[command]
    assert invoke(*remedy(invoke(*asked))).exit_code == 0
    assert "compile" not in invoke(*asked).output  # now it is the GPU that is missing, or nothing

"""export, compile, verify, inspect, bench and doctor as commands."""

import json

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from glow_deploy.artifact.files import sha256_file


def test_export_needs_no_more_than_the_checkpoint(invoke, model, place):
    result = invoke("export", model.checkpoint)
    assert result.exit_code == 0, result.output
    folder = place / "ckpt-bundle"
    assert sorted(path.name for path in folder.iterdir()) == [
        "decoder.onnx",
        "encoder.onnx",
        "golden.npz",
        "manifest.json",
    ]
    again = invoke("export", model.checkpoint)
    assert again.exit_code == 2
    assert "--force" in again.stderr
    assert invoke("export", model.checkpoint, "--force", "--golden", "none").exit_code == 0
    assert not (folder / "golden.npz").exists()


def test_export_resizes_if_asked_to_and_doubts_an_untrained_model(invoke, model, place):
    np.savez(place / "big.npz", images=np.random.default_rng(0).integers(0, 256, (3, 12, 12, 3), dtype=np.uint8))
    refused = invoke("export", model.checkpoint, "--data", "big.npz")
    assert refused.exit_code == 2
    assert "--resize" in refused.stderr
    accepted = invoke("export", model.checkpoint, "--data", "big.npz", "--resize", "--golden", 1)
    assert accepted.exit_code == 0, accepted.output
    assert "at batch 1, 2, 3" in accepted.output
    assert "note:" not in accepted.output

    from glow_core import Glow, GlowConfig, save_checkpoint

    save_checkpoint(Glow(GlowConfig(image_size=(8, 8), levels=2, steps=1, width=4)), place / "fresh.pt")
    assert "note: actnorm was never initialised" in invoke("export", "fresh.pt").output


def test_verify_a_sound_bundle(invoke, model, place):
    result = invoke("verify", model.bundle, "--json", "report.json", "--ckpt", model.checkpoint)
    assert result.exit_code == 0, result.output
    report = json.loads((place / "report.json").read_text())
    assert report["sound"] is True
    assert {cell["encode"] for cell in report["cells"]} == {"pytorch-fp64", "pytorch-fp32", "onnxruntime-cpu"}
    assert "round trip: sound" in result.output


def test_verify_finds_a_planted_fault(invoke, own_model, place):
    """The largest entry of one 1x1 convolution off by 1 %, with checksums that agree."""
    graph = onnx.load(own_model.decoder)
    weight = next(item for item in graph.graph.initializer if item.name.endswith("level1/step01/invconv/weight"))
    values = numpy_helper.to_array(weight).copy()
    values.flat[abs(values).argmax()] *= 1.01
    weight.CopyFrom(numpy_helper.from_array(values, weight.name))
    onnx.save(graph, own_model.decoder)
    manifest = json.loads((own_model.bundle / "manifest.json").read_text())
    manifest["files"]["decoder.onnx"] = sha256_file(own_model.decoder)
    (own_model.bundle / "manifest.json").write_text(json.dumps(manifest))
    result = invoke("verify", own_model.bundle, "--json", "report.json")
    assert result.exit_code == 1
    assert "onnxruntime-cpu" in result.stderr
    assert "unsound" in result.stderr
    assert json.loads((place / "report.json").read_text())["sound"] is False


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


def test_inspect_a_checkpoint(invoke, model):
    found = json.loads(invoke("inspect", model.checkpoint, "--json", "-").stdout)
    assert (found["kind"], found["levels"], found["image_size"]) == ("checkpoint", 2, [8, 8])
    assert found["parameters"] > 1000


def test_inspect_a_graph(invoke, model):
    found = json.loads(invoke("inspect", model.encoder, "--json", "-").stdout)
    assert (found["kind"], found["ours"], found["role"], found["precision"]) == ("onnx", True, "encoder", "fp32")
    assert found["sha256"] == sha256_file(model.encoder)
    assert {row["name"]: row["shape"] for row in found["signature"]}["z2"] == ["batch", 24, 2, 2]
    assert [row["level"] for row in found["nodes_per_level"]] == ["level1", "level2", "prior"]
    assert sum(row["nodes"] for row in found["nodes_per_level"]) == found["nodes"]


def test_inspect_a_bundle_and_see_a_changed_file(invoke, own_model):
    table = {
        row["file"]: row["state"]
        for row in json.loads(invoke("inspect", own_model.bundle, "--json", "-").stdout)["files"]
    }
    assert set(table.values()) == {"ok"}
    own_model.encoder.write_bytes(own_model.encoder.read_bytes() + b"\x00")
    (own_model.bundle / "golden.npz").unlink()
    table = {
        row["file"]: row["state"]
        for row in json.loads(invoke("inspect", own_model.bundle, "--json", "-").stdout)["files"]
    }
    assert table == {"encoder.onnx": "changed", "decoder.onnx": "ok", "golden.npz": "missing"}


def test_bench_a_bundle(invoke, model):
    result = invoke("bench", model.bundle, "--iterations", 3, "--warmup-ms", 0, "--batch", "1,4", "--json", "-")
    report = json.loads(result.stdout)
    rows = [(row["backend"], row["role"], row["batch"], row["runs"]) for row in report["timings"]]
    assert rows == [("onnxruntime-cpu", role, batch, 3) for role in ("encoder", "decoder") for batch in (1, 4)]
    assert all(0 < row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"] for row in report["timings"])
    assert report["rate"]["flops_per_second"] > 0


def test_doctor(invoke):
    result = invoke("doctor")
    assert result.exit_code == 0
    assert "CPUExecutionProvider: works" in result.output
    report = json.loads(invoke("doctor", "--json", "-").stdout)
    assert report["packages"]["numpy"]
    assert {provider["name"]: provider["usable"] for provider in report["providers"]}["CPUExecutionProvider"] is True

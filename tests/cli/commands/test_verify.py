"""The parts of `glow-deploy verify` that are measured only when asked for, as a user asks for them."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from glow_deploy.artifact.files import sha256_file

FEW = ("--backend", "onnxruntime-cpu", "--random-draws", "0")


@pytest.fixture
def stored(invoke, model, tmp_path):
    """A JSON report of the sound bundle."""
    path = tmp_path / "baseline.json"
    assert invoke("verify", model.bundle, *FEW, "--json", path).exit_code == 0
    return path


def test_steps_name_every_step_and_come_with_the_budget(invoke, model, tmp_path):
    result = invoke("verify", model.bundle, *FEW, "--steps", "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "r.json").read_text())
    rows = report["steps"]["backends"][0]["rows"]
    assert {row["direction"] for row in rows} == {"encode", "decode"}
    assert any(row["step"] == "level1/step01" for row in rows)
    assert report["budget"]["gamma"] > 0
    assert {"fp32", "mixed", "tf32"} <= set(report["budget"]["predicted_rms"])
    assert "--steps" in report["command"]
    assert report["steps"]["backends"][0]["first_jump"] is None


def test_steps_with_the_checkpoint_name_the_wrong_graph(invoke, model, tmp_path):
    spoiled = tmp_path / "spoiled"
    shutil.copytree(model.bundle, spoiled)
    spoil(spoiled)
    result = invoke("verify", spoiled, *FEW, "--steps", "--ckpt", model.checkpoint, "--json", tmp_path / "r.json")
    assert result.exit_code == 1
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["steps"]["weights"][0]["step"] == "level1/step02"
    assert report["steps"]["weights"][0]["direction"] == "decode"
    assert any("level1/step02" in failure["where"] for failure in report["failures"])
    assert any("level1/step02 of the decoder" in note for note in report["notes"])


def sign(folder):
    """Write the digests of changed graphs into the manifest, as an attacker or a careless tool would."""
    import hashlib

    manifest = json.loads((folder / "manifest.json").read_text())
    for name in ("encoder.onnx", "decoder.onnx"):
        manifest["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_backends_that_cannot_show_their_steps_are_refused_before_measuring(invoke, model, monkeypatch):
    from glow_deploy.verify import run

    monkeypatch.setattr(run, "open_backends", lambda *a, **k: pytest.fail("it went to work"))
    options = ("--backend", "pytorch-fp64", "--ckpt", model.checkpoint, "--steps")
    result = invoke("verify", model.bundle, *options)
    assert result.exit_code == 2
    assert "can show its steps" in " ".join(result.output.split())


def test_stress_reports_its_sections(invoke, model, tmp_path):
    result = invoke("verify", model.bundle, *FEW, "--stress", "--json", tmp_path / "r.json")
    assert result.exit_code == 0, result.output
    stress = json.loads((tmp_path / "r.json").read_text())["stress"]
    assert {row["name"] for row in stress["inputs"]} >= {"constant-0", "checkerboard-1", "uniform"}
    assert stress["attack"] is None
    assert "give --ckpt" in result.output


def test_the_page_is_one_file_without_references(invoke, model, tmp_path):
    page = tmp_path / "report.html"
    result = invoke("verify", model.bundle, *FEW, "--report", page)
    assert result.exit_code == 0, result.output
    text = page.read_text()
    assert text.startswith("<!doctype html>") or text.startswith("<!DOCTYPE html>")
    assert "onnxruntime-cpu" in text
    assert 'src="http' not in text
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


@pytest.mark.parametrize("place", ["none/report.html", "."])
def test_a_page_that_cannot_be_written_is_noticed_before_measuring(invoke, model, tmp_path, place, monkeypatch):
    from glow_deploy.verify import run

    monkeypatch.setattr(run, "open_backends", lambda *a, **k: pytest.fail("it went to work"))
    result = invoke("verify", model.bundle, "--report", tmp_path / place)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_json_into_a_missing_folder_and_one_file_for_both_are_noticed_before_measuring(
    invoke, model, tmp_path, monkeypatch
):
    from glow_deploy.verify import run

    monkeypatch.setattr(run, "open_backends", lambda *a, **k: pytest.fail("it went to work"))
    missing = invoke("verify", model.bundle, "--json", tmp_path / "none" / "r.json")
    assert missing.exit_code == 2
    assert "no such folder" in missing.output
    both = invoke("verify", model.bundle, "--json", tmp_path / "r.html", "--report", tmp_path / "r.html")
    assert both.exit_code == 2
    assert "a file of its own" in both.output
    assert not list(tmp_path.glob("r*"))


def test_a_bundle_keeps_to_its_own_baseline(invoke, model, stored):
    result = invoke("verify", model.bundle, *FEW, "--baseline", stored)
    assert result.exit_code == 0, result.output
    assert "baseline: pass" in result.output


def test_a_rise_above_the_baseline_fails_although_the_bundle_is_sound(invoke, model, stored, tmp_path, monkeypatch):
    from glow_deploy.verify.regression.compare import _Floors

    # This model's errors are a few roundings, which no rise counts below.
    monkeypatch.setattr(_Floors, "of", lambda self, now, then: 0.0)
    values = json.loads(stored.read_text())
    for cell in values["cells"]:
        for statistic in ("rms", "p999", "max"):
            cell["x_z_x"][statistic] /= 100.0
    lower = tmp_path / "lower.json"
    lower.write_text(json.dumps(values))
    result = invoke("verify", model.bundle, *FEW, "--baseline", lower, "--json", tmp_path / "r.json")
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["baseline"]["verdict"] == "fail"
    assert result.exit_code == 1
    assert report["sound"] is True
    assert "is sound, but" in result.output
    assert result.stdout.startswith("sound, but ")
    assert "rose above the baseline" in result.stdout.splitlines()[0]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": "other"}'])
def test_a_damaged_baseline_is_one_clear_line(invoke, model, tmp_path, content):
    (tmp_path / "b.json").write_text(content)
    result = invoke("verify", model.bundle, "--baseline", tmp_path / "b.json")
    assert result.exit_code == 2
    assert "b.json" in result.output


def test_the_first_line_of_stdout_is_the_answer(run_process, model, tmp_path):
    """In a process of its own, so that whatever libraries print is seen too."""
    done = run_process("verify", model.bundle, *FEW, "--json", tmp_path / "r.json")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "sound: every image comes back exactly on 1 pair of backends (8 golden images)"
    assert lines[1:4] == ["round trip: sound", "likelihood: sound", "samples: sound"]
    assert done.stderr == ""


def test_an_unsound_bundle_says_so_first(invoke, own_model):
    spoil(own_model.bundle)
    result = invoke("verify", own_model.bundle, *FEW)
    assert result.exit_code == 1
    lines = result.stdout.splitlines()
    assert lines[0] == "UNSOUND: images do not come back right; samples and weights are wrong"
    assert lines[1].startswith("FAIL ")
    assert result.stderr.startswith(f"error: {own_model.bundle} is unsound: ")


def test_limits_and_every_failure_come_with_verbose(invoke, own_model, model):
    for bundle in (model.bundle, own_model.bundle):
        if bundle == own_model.bundle:
            spoil(bundle)
        short, long = (invoke("verify", bundle, *FEW, *words).stdout for words in ((), ("--verbose",)))
        assert "Limits: a factor times the yardstick" in long
        assert "--verbose" not in long
        assert "Limits" not in short
        assert short.endswith("--verbose also prints every failure, and every limit with where it comes from\n")
        assert short.splitlines()[0] == long.splitlines()[0]


def test_verbose_changes_no_json(invoke, model):
    reports = [
        json.loads(invoke("verify", model.bundle, *FEW, *words, "--json", "-").stdout) for words in ((), ("--verbose",))
    ]
    for report in reports:
        del report["date"], report["seconds"]
    assert reports[0] == reports[1]


def spoil(bundle):
    """Put one weight of the decoder 2 % off, and sign the bundle again."""
    name = "level1/step02/coupling/conv2/weight"
    graph = onnx.load(bundle / "decoder.onnx")
    for tensor in graph.graph.initializer:
        if tensor.name == name:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1.02), name))
    onnx.save(graph, bundle / "decoder.onnx")
    sign(bundle)


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
    assert "unsound" in result.stderr
    assert "level1/step01" in result.stderr  # its weights are not those that were exported
    assert "onnxruntime-cpu" in result.stdout
    assert json.loads((place / "report.json").read_text())["sound"] is False


@pytest.mark.parametrize(
    ("where", "blamed"),
    [
        (["encode kserve=h:80, 4 images", "encode a -> decode kserve=h:80, 4 images"], "kserve=h:80, held to b,"),
        (["encode kserve=h:80, 4 images", "encode a -> decode a, 4 images"], "b"),
        (["encode kserve=h:8000, 4 images"], "kserve=h:8000, held to b,"),
        (["encode a, 4 images"], "b"),
        ([], "b"),
    ],
)
def test_a_server_alone_is_blamed_for_what_is_of_it_alone(where, blamed):
    from glow_cli.commands.verify import _blamed

    backends = [SimpleNamespace(name=name) for name in ("a", "kserve=h:80", "kserve=h:8000")]
    failures = [SimpleNamespace(where=words) for words in where]
    assert _blamed("b", SimpleNamespace(backends=backends, failures=failures)) == blamed

"""What passes, what fails and where: real bundles, sound and spoilt."""

from __future__ import annotations

import json
import shutil
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from glow_deploy.verify.backends.backend import BACKENDS
from glow_deploy.verify.pytest_plugin import items, measure

pytest_plugins = ["pytester"]

CPU = ("--glow-backends", "onnxruntime-cpu")


def outcomes(result):
    """Outcome by id, out of `-v`."""
    found = {}
    for line in result.outlines:
        words = line.split()
        if len(words) > 1 and "::" in words[0] and words[1] in ("PASSED", "FAILED", "ERROR", "SKIPPED"):
            found[words[0].partition("::")[2]] = words[1]
    return found


@pytest.fixture
def one_percent(making, model, pytester):
    """Spoil the bundle of the inner run: the largest weight of a 1x1 off by 1 %."""

    def make(role, *, name="level2/step02/invconv/weight"):
        def change(found, weight, _):
            if found != name:
                return None
            weight[np.unravel_index(np.abs(weight).argmax(), weight.shape)] *= 1.01
            return weight

        return making.spoil_bundle(model.bundle, pytester.path / "bundle", change, roles=(role,))

    return make


@pytest.mark.usefixtures("bundle")
def test_a_sound_bundle_passes_and_unusable_backends_are_skipped_with_their_reason(run):
    result = run("-v", "-rs")
    assert result.ret == 0
    result.assert_outcomes(passed=9, skipped=len(BACKENDS) - 1)
    found = outcomes(result)
    assert found["onnxruntime-cpu->onnxruntime-cpu[golden]"] == "PASSED"
    assert found["backend[tensorrt]"] == "SKIPPED"
    text = result.stdout.str()
    assert "encoder.trt and decoder.trt not in bundle: compile with" in text
    assert "bundle: round trip sound, likelihood sound, samples sound, weights sound" in text


@pytest.mark.usefixtures("bundle")
def test_openvino_is_tested_where_it_is_named(run_apart):
    pytest.importorskip("openvino", reason="the plugin runs OpenVINO")
    result = run_apart("--glow-bundle", "bundle", "--glow-backends", "onnxruntime-cpu,openvino-cpu", "-v")
    assert result.ret == 0, result.stdout.str()
    found = outcomes(result)
    assert found["onnxruntime-cpu->openvino-cpu[golden]"] == "PASSED"
    assert found["backend[openvino-cpu]"] == "PASSED"


def test_a_damaged_decoder_fails_in_the_tests_that_decode(one_percent, run):
    one_percent("decoder")
    result = run(*CPU, "-v")
    assert outcomes(result) == {
        "backend[onnxruntime-cpu]": "PASSED",
        "onnxruntime-cpu-vs-float64[golden]": "FAILED",
        "onnxruntime-cpu->onnxruntime-cpu[golden]": "FAILED",
        "onnxruntime-cpu-batches[encoder]": "PASSED",
        "onnxruntime-cpu-batches[decoder]": "PASSED",
        "verdict[round_trip]": "FAILED",
        "verdict[likelihood]": "PASSED",
        "verdict[samples]": "FAILED",
        "verdict[weights]": "FAILED",
    }
    text = result.stdout.str()
    assert "encode onnxruntime-cpu -> decode onnxruntime-cpu, 32 golden images:" in text
    result.stdout.re_match_lines([r"  x -> z -> x, rms: \S+, limit \S+ \(4 x \S+\)"])
    result.stdout.re_match_lines([r"cause: .*decoder.*"])
    assert "repeat: glow-deploy verify bundle --backend onnxruntime-cpu" in text
    assert "items.py" not in text


def test_a_damaged_encoder_fails_likelihood_too(one_percent, run):
    one_percent("encoder")
    found = outcomes(run(*CPU, "-v"))
    assert found["verdict[likelihood]"] == found["onnxruntime-cpu-vs-float64[golden]"] == "FAILED"


def test_a_fault_of_one_backend_fails_in_its_cells_alone(one_percent, run, model):
    one_percent("decoder")
    result = run("--glow-backends", "pytorch-fp32,onnxruntime-cpu", "--glow-ckpt", model.ckpt, "-v")
    found = outcomes(result)
    assert {name for name, outcome in found.items() if outcome == "FAILED" and "->" in name} == {
        "pytorch-fp32->onnxruntime-cpu[golden]",
        "onnxruntime-cpu->onnxruntime-cpu[golden]",
    }
    assert found["pytorch-fp32->pytorch-fp32[golden]"] == "PASSED"
    assert found["onnxruntime-cpu->pytorch-fp32[golden]"] == "PASSED"
    assert found["pytorch-fp32-vs-float64[golden]"] == "PASSED"


@pytest.mark.usefixtures("bundle")
def test_the_checkpoint_of_another_model_is_named(run, making, tmp_path):
    other = making.export_model(tmp_path / "other", width=16)
    result = run("--glow-backends", "pytorch-fp32,onnxruntime-cpu", "--glow-ckpt", other.ckpt)
    assert result.ret == 1
    assert "is not the model that bundle was exported from (width 16, not 12)" in result.stdout.str()
    assert "Traceback" not in result.stdout.str()


def test_neighbours_in_a_batch_that_matter_fail_in_the_batch_test(bundle, run, monkeypatch, making):
    from glow_deploy.engines import open as opening

    real = opening.open_engine

    def last_row_is_the_first(outputs, feeds):
        rows = len(next(iter(feeds.values())))
        return {name: np.concatenate([a[:-1], a[:1]]) if rows > 2 else a for name, a in outputs.items()}

    def tampered(path, **options):
        engine = real(path, **options)
        return making.TamperedEngine(engine, after=last_row_is_the_first) if engine.role == "decoder" else engine

    monkeypatch.setattr(opening, "open_engine", tampered)
    result = run(*CPU, "--glow-batch", "1", "-v")
    found = outcomes(result)
    assert found["onnxruntime-cpu-batches[decoder]"] == "FAILED"
    assert found["onnxruntime-cpu-batches[encoder]"] == "PASSED"
    assert found["onnxruntime-cpu->onnxruntime-cpu[golden]"] == "PASSED"
    assert "the other images of the batch" in result.stdout.str()


def test_a_backend_that_was_asked_for_and_is_absent_is_an_error(bundle, run):
    result = run("--glow-backends", "onnxruntime-cpu,tensorrt", "-v")
    assert result.ret == 1
    found = outcomes(result)
    for name, outcome in found.items():
        wanted = "ERROR" if "tensorrt" in name else "PASSED"
        assert outcome == wanted, name
    assert {"tensorrt->onnxruntime-cpu[golden]", "backend[tensorrt]", "tensorrt-batches[encoder]"} <= set(found)
    assert (
        "tensorrt was asked for and cannot run here: encoder.trt and decoder.trt not in bundle" in result.stdout.str()
    )


def test_only_absent_backends_asked_for_measure_nothing(bundle, run):
    result = run("--glow-backends", "tensorrt", "--glow-device", "cpu", "-v")
    assert set(outcomes(result).values()) == {"ERROR"}
    assert "measuring" not in result.stdout.str()


def test_an_error_of_the_measurement_is_one_line_in_every_test(bundle, run):
    result = run(*CPU, "--glow-data", "nowhere", "-v")
    assert set(outcomes(result).values()) == {"ERROR"}
    assert "Traceback" not in result.stdout.str()
    assert "bundle: not measured" in result.stdout.str()


def test_a_bug_in_the_measurement_shows_its_traceback_and_ends_nothing(bundle, run, monkeypatch):
    def broken(*arguments, **options):
        raise RuntimeError("quite unforeseen")

    monkeypatch.setattr(measure, "verify", broken)
    result = run(*CPU, "-v")
    assert set(outcomes(result).values()) == {"ERROR"}
    assert "RuntimeError: quite unforeseen" in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str()


def test_a_backend_that_ran_unforeseen_is_no_pass(bundle, run, monkeypatch):
    monkeypatch.setattr(items, "unusable_backends", lambda *a, **o: {"onnxruntime-cpu": "it seems so"})
    found = outcomes(run("-v"))
    assert found["backend[onnxruntime-cpu]"] == "FAILED"
    assert not any("->" in name and "onnxruntime-cpu" in name for name in found)


def test_a_backend_that_does_not_open_after_all_is_skipped(bundle, run, monkeypatch):
    monkeypatch.setattr(items, "unusable_backends", lambda *a, **o: {})
    result = run("-v", "-rs")
    found = outcomes(result)
    assert found["onnxruntime-cpu->tensorrt[golden]"] == "SKIPPED"
    assert found["tensorrt-batches[encoder]"] == "SKIPPED"
    assert found["onnxruntime-cpu->onnxruntime-cpu[golden]"] == "PASSED"
    assert result.ret == 0


@pytest.mark.usefixtures("bundle")
def test_a_bundle_is_measured_once_and_only_when_needed(run, monkeypatch, pytester):
    from glow_deploy.verify.pytest_plugin import measure as measuring

    calls = []
    real = measuring.verify
    monkeypatch.setattr(measuring, "verify", lambda *a, **o: (calls.append(a), real(*a, **o))[1])
    result = run(*CPU)
    assert (result.ret, len(calls)) == (0, 1)
    assert result.stdout.str().count("measuring bundle") == 1
    pytester.makepyfile(test_own="def test_mine(): pass")
    result = run(*CPU, "-k", "test_mine")
    result.assert_outcomes(passed=1, deselected=9)
    assert len(calls) == 1
    assert "glow-deploy: measur" not in result.stdout.str()
    assert run(*CPU, "-k", "verdict", "-q").ret == 0
    assert len(calls) == 2


def test_fresh_images_are_tested_too(bundle, run, making, model, tmp_path):
    pixels = model.pixels(10, seed=5).transpose(0, 2, 3, 1)
    np.savez(tmp_path / "images.npz", images=pixels)
    found = outcomes(run(*CPU, "--glow-data", tmp_path / "images.npz", "--glow-limit", 6, "-v"))
    assert found["onnxruntime-cpu->onnxruntime-cpu[data]"] == "PASSED"


def test_two_bundles_are_two_sets_of_tests(bundle, run, one_percent, pytester):
    shutil.move(pytester.path / "bundle", pytester.path / "good")
    one_percent("decoder")
    result = run(*CPU, "--glow-bundle", "good", "--glow-json", "r.json", "-v")
    assert "bundle::verdict[round_trip] FAILED" in " ".join(result.stdout.str().split())
    assert "good::verdict[round_trip] PASSED" in " ".join(result.stdout.str().split())
    good, bad = (json.loads((pytester.path / f"r-{name}.json").read_text()) for name in ("good", "bundle"))
    assert (good["sound"], bad["sound"]) == (True, False)


@pytest.mark.usefixtures("bundle")
def test_the_baseline_passes_and_a_rise_fails_in_its_row(run, stored, tmp_path):
    result = run(*CPU, "--glow-baseline", stored, "-v")
    assert result.ret == 0
    assert outcomes(result)["baseline:onnxruntime-cpu->onnxruntime-cpu[golden]"] == "PASSED"
    assert outcomes(result)["verdict[baseline]"] == "PASSED"
    assert "baseline pass" in result.stdout.str()
    values = json.loads(stored.read_text())
    values["cells"][0]["exact"].update(images_exact=32)
    values["references"][0]["z"]["z1"].update(rms=1e-12, scale=0.0)
    values["references"][0]["z"]["z2"].update(non_finite=0)
    values["references"].append({**values["references"][0], "backend": "tensorrt"})
    values["batches"].append({**values["batches"][0], "role": "third"})
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(values))
    result = run(*CPU, "--glow-baseline", changed, "-v")
    found = outcomes(result)
    assert found["baseline:tensorrt-vs-float64[golden]"] == "SKIPPED"
    assert found["baseline:onnxruntime-cpu-batches[third]"] == "FAILED"
    assert found["baseline:onnxruntime-cpu->onnxruntime-cpu[golden]"] == "PASSED"
    assert found["verdict[baseline]"] == "FAILED"
    # The absolute verdicts stand apart.
    assert found["verdict[round_trip]"] == found["verdict[likelihood]"] == "PASSED"


def test_a_spoilt_decoder_rises_above_the_baseline(one_percent, run, stored):
    one_percent("decoder")
    result = run(*CPU, "--glow-baseline", stored, "-v", "-k", "baseline")
    found = outcomes(result)
    assert found["baseline:onnxruntime-cpu->onnxruntime-cpu[golden]"] == "FAILED"
    assert found["baseline:onnxruntime-cpu-batches[encoder]"] == "PASSED"
    text = result.stdout.str()
    assert "rms of x -> z -> x is" in text
    assert "changed since: decoder.onnx: another file than then" in text


@pytest.mark.usefixtures("bundle")
def test_the_factor_is_that_of_the_option(run, stored, tmp_path, monkeypatch):
    from glow_deploy.verify.pytest_plugin import measure as measuring
    from glow_deploy.verify.regression import compare, read_baseline

    now = json.loads(stored.read_text())
    now["references"][0]["z"]["z1"]["p999"] = 1.8e-3

    class Report:
        def __init__(self, settings):
            self.settings = settings

        def to_dict(self):
            baseline = read_baseline(self.settings.baseline)
            found = compare(now, baseline, factor=self.settings.baseline_factor)
            return {**now, "baseline": found.to_dict()}

    monkeypatch.setattr(measuring, "verify", lambda bundle, *, settings, progress: Report(settings))
    then = json.loads(json.dumps(now))
    then["references"][0]["z"]["z1"]["p999"] = 1e-3
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(then))
    options = (*CPU, "--glow-baseline", changed, "-k", "baseline")
    result = run(*options, "-v")
    failed = {name for name, outcome in outcomes(result).items() if outcome == "FAILED"}
    assert failed == {"baseline:onnxruntime-cpu-vs-float64[golden]", "verdict[baseline]"}
    assert "p99.9 of z1 is 0.0018 and was 0.001, limit 0.0015 (1.5 x 1.00e-03)" in result.stdout.str()
    assert run(*options, "--glow-baseline-factor", "2").ret == 0


@pytest.mark.usefixtures("bundle")
def test_a_baseline_that_compares_nothing_is_no_pass(run, stored, tmp_path):
    values = json.loads(stored.read_text())
    values["image_sets"][0]["source"] = "of elsewhere"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(values))
    result = run(*CPU, "--glow-baseline", other, "-v")
    found = outcomes(result)
    assert found["verdict[baseline]"] == "FAILED"
    assert found["baseline:onnxruntime-cpu->onnxruntime-cpu[golden]"] == "SKIPPED"
    assert "nothing compared" in result.stdout.str()


@pytest.mark.usefixtures("bundle")
def test_the_reports_are_written(run, pytester):
    from glow_deploy.verify.regression import read_baseline

    pytest.importorskip("jinja2")
    result = run(*CPU, "--glow-json", "r.json", "--glow-report", "r.html", "--junitxml", "junit.xml")
    assert result.ret == 0
    assert read_baseline(pytester.path / "r.json").rows
    assert "<html" in (pytester.path / "r.html").read_text()
    assert "wrote r.json" in result.stdout.str()
    cases = ElementTree.parse(pytester.path / "junit.xml").getroot().iter("testcase")
    found = {case.get("name"): case for case in cases}
    assert len(found) == 9
    cell = found["onnxruntime-cpu->onnxruntime-cpu[golden]"]
    assert cell.get("classname") == "bundle"
    properties = {p.get("name"): p.get("value") for p in cell.iter("property")}
    assert properties["images exact"] == properties["images"] == "32"
    assert float(properties["rms"]) > 0


def test_junit_holds_failures_and_collection_errors(one_percent, run, pytester):
    one_percent("decoder")
    run(*CPU, "--junitxml", "junit.xml")
    root = ElementTree.parse(pytester.path / "junit.xml").getroot()
    failed = {case.get("name"): case.find("failure").get("message") for case in root.iter("testcase") if len(case)
              and case.find("failure") is not None}  # fmt: skip
    assert "gates missed" in failed["onnxruntime-cpu->onnxruntime-cpu[golden]"]
    (pytester.path / "bundle" / "manifest.json").write_text("{")
    run(*CPU, "--junitxml", "junit.xml")
    text = (pytester.path / "junit.xml").read_text()
    assert 'errors="1"' in text
    assert "not readable JSON" in text


@pytest.fixture(scope="session")
def labelled(making, tmp_path_factory):
    """A model with three classes; made outside of any inner run, which would forget what is imported for it."""
    return making.export_model(tmp_path_factory.mktemp("labelled"), num_classes=3)


def test_a_class_conditional_bundle_passes_and_one_with_exchanged_classes_fails(labelled, making, run, pytester):
    shutil.copytree(labelled.bundle, pytester.path / "bundle")
    result = run(*CPU)
    assert result.ret == 0
    result.assert_outcomes(passed=9)

    def roll(name, weight, _):
        return np.roll(weight, 1, axis=0) if name.startswith("prior/") else None

    making.spoil_bundle(labelled.bundle, pytester.path / "rolled", roll, roles=("decoder",))
    result = run(*CPU, bundle="rolled")
    assert result.ret == 1

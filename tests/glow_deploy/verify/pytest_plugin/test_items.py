"""What is collected, before anything is measured, and what cannot be."""

from __future__ import annotations

import json

import pytest

from glow_deploy.verify.backends.backend import BACKENDS
from glow_deploy.verify.pytest_plugin import measure

pytest_plugins = ["pytester"]

CPU = ("--glow-backends", "onnxruntime-cpu")


@pytest.fixture
def no_measuring(monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("something was measured")

    monkeypatch.setattr(measure, "verify", refuse)


@pytest.mark.usefixtures("bundle", "no_measuring")
def test_every_figure_has_a_test_before_anything_is_measured(ids):
    assert ids() == [
        *(f"bundle::backend[{name}]" for name in BACKENDS),
        "bundle::onnxruntime-cpu-vs-float64[golden]",
        "bundle::onnxruntime-cpu->onnxruntime-cpu[golden]",
        "bundle::onnxruntime-cpu-batches[encoder]",
        "bundle::onnxruntime-cpu-batches[decoder]",
        "bundle::verdict[round_trip]",
        "bundle::verdict[likelihood]",
        "bundle::verdict[samples]",
        "bundle::verdict[weights]",
    ]


@pytest.mark.usefixtures("bundle", "no_measuring")
def test_the_matrix_grows_with_backends_images_and_the_checkpoint(ids, model):
    options = ("--glow-backends", "pytorch-fp32,onnxruntime-cpu", "--glow-ckpt", model.ckpt)
    found = ids(*options, "--glow-data", "faces", "--glow-limit", 4)
    for a in ("pytorch-fp32", "onnxruntime-cpu"):
        for images in ("golden", "data"):
            assert f"bundle::{a}-vs-float64[{images}]" in found
            assert {f"bundle::{a}->{b}[{images}]" for b in ("pytorch-fp32", "onnxruntime-cpu")} <= set(found)
    assert [name for name in found if "backend[" in name] == [
        "bundle::backend[pytorch-fp32]",
        "bundle::backend[onnxruntime-cpu]",
    ]
    without = ids("--glow-data", "faces", *CPU)
    assert "bundle::onnxruntime-cpu->onnxruntime-cpu[data]" in without
    assert "bundle::onnxruntime-cpu-vs-float64[data]" not in without


@pytest.mark.usefixtures("bundle", "no_measuring")
def test_rows_of_the_baseline_have_tests_of_their_own(ids, stored):
    found = ids(*CPU, "--glow-baseline", stored)
    assert "bundle::baseline:onnxruntime-cpu->onnxruntime-cpu[golden]" in found
    assert "bundle::baseline:onnxruntime-cpu-batches[decoder]" in found
    assert found[-1] == "bundle::verdict[baseline]"


@pytest.mark.usefixtures("bundle", "no_measuring")
def test_tests_are_chosen_by_word_and_marker(ids):
    assert ids(*CPU, "-k", "vs-float64") == ["bundle::onnxruntime-cpu-vs-float64[golden]"]
    assert ids(*CPU, "-k", "verdict and likelihood") == ["bundle::verdict[likelihood]"]
    assert len(ids(*CPU, "-m", "glow_deploy", "--strict-markers")) == 9


@pytest.mark.usefixtures("no_measuring")
def test_a_bundle_elsewhere_is_named_by_its_whole_path(ids, model):
    assert all(name.startswith(f"{model.bundle.as_posix()}::") for name in ids(bundle=str(model.bundle)))


@pytest.mark.usefixtures("bundle", "no_measuring")
def test_users_own_tests_are_collected_too(pytester, ids):
    pytester.makepyfile(test_own="def test_mine(): pass")
    pytester.makeconftest(
        """
        import pytest

        def pytest_collection_modifyitems(items):
            for item in items:
                item.add_marker(pytest.mark.own)
                assert item.path.exists() and item.location and item.get_closest_marker("own")

        @pytest.fixture(autouse=True)
        def nothing():
            yield
        """
    )
    found = ids(*CPU)
    assert found[0] == "test_own.py::test_mine"
    assert len(found) == 10


def collection_error(result, *words):
    """Check that a run was stopped by one clear line."""
    text = result.stdout.str()
    assert result.ret == pytest.ExitCode.INTERRUPTED, text
    result.assert_outcomes(errors=1)
    lines = [line for line in result.outlines if line.startswith("E   ") or all(word in line for word in words)]
    assert any(all(word in line for word in words) for line in lines), text
    assert "Traceback" not in text
    assert ".py:" not in text


def test_no_such_bundle(run):
    collection_error(run(bundle="nothing"), "nothing: no such bundle folder")


@pytest.mark.parametrize("name", ["encoder.onnx", "decoder.onnx", "golden.npz"])
def test_a_changed_file(bundle, run, name):
    with (bundle / name).open("ab") as file:
        file.write(b"x")
    collection_error(run(), f"{name}: changed or damaged since the export")


def test_a_damaged_manifest(bundle, run):
    (bundle / "manifest.json").write_text("{")
    collection_error(run(), "manifest.json: not readable JSON")


def test_a_bundle_without_images(making, run, tmp_path):
    bare = making.export_model(tmp_path / "bare", golden=None, seed=30)
    collection_error(run(bundle=bare.bundle), "no golden vectors", "--glow-data")
    collection_error(run("--glow-data", "faces", bundle=bare.bundle), "no golden vectors", "--glow-ckpt")


def test_a_baseline_of_another_model(bundle, run, stored, tmp_path):
    values = json.loads(stored.read_text())
    values["bundle"]["precision"] = "mixed"
    other = tmp_path / "other.json"
    other.write_text(json.dumps(values))
    collection_error(run("--glow-baseline", other), "is no baseline of this bundle", "precision mixed, not fp32")
    collection_error(run("--glow-baseline", stored, "--glow-baseline", stored), "give one")
    collection_error(run("--glow-baseline", other, "--glow-baseline", other), "none of the 2 baselines")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--glow-backends", "tensort"), "tensort"),
        (("--glow-backends", "onnxruntime-cpu,onnxruntime-cpu"), "name each once"),
        (("--glow-limit", "3"), "limit"),
        (("--glow-device", "gpu"), "gpu"),
        (("--glow-batch", "0"), "batch"),
        (("--glow-baseline", "none.json"), "none.json: no such file"),
        (("--glow-baseline-factor", "0.5"), "factor"),
        (("--glow-ckpt", "none.pt"), "no such file"),
        (("--glow-json", "nowhere/x.json"), "no such folder"),
        (("--glow-report", "."), "is a folder"),
        (("--glow-bundle", "bundle"), "twice"),
    ],
)
@pytest.mark.usefixtures("bundle")
def test_options_that_cannot_be_followed_end_the_run_in_one_line(run, options, words):
    result = run(*options)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    errors = [line for line in result.errlines if line.startswith("ERROR: ")]
    assert len(errors) == 1
    assert words in errors[0]


def test_a_damaged_baseline_ends_the_run_in_one_line(bundle, run, tmp_path):
    (tmp_path / "b.json").write_text('{"schema": "glow_deploy.verify"}')
    result = run("--glow-baseline", tmp_path / "b.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert "schema_version is missing" in result.stderr.str()

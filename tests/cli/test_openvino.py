"""Every command that chooses an engine runs it in OpenVINO, and says in one line where it cannot."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest

FLAVOR = ("--flavor", "openvino-cpu")


@pytest.fixture
def openvino():
    return pytest.importorskip("openvino", reason="these commands run OpenVINO")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(place):
    return place


@pytest.mark.parametrize(
    "words",
    [
        ["sample", "B", "-n", "2"],
        ["sample", "--engine", "D", "-n", "2"],
        ["encode", "B", "P", "-o", "z.npz"],
        ["score", "B", "P"],
        ["interpolate", "B", "P", "Q", "--steps", "3"],
    ],
)
def test_commands_open_their_engines_in_it_with_the_threads_they_are_given(
    openvino, model, invoke, pictures, monkeypatch, words
):
    from glow_deploy.engines import openvino as module

    seen = []
    real = module._compile

    def watch(data, rows, **options):
        seen.append((options["backend"], options["threads"]))
        return real(data, rows, **options)

    monkeypatch.setattr(module, "_compile", watch)
    names = {"B": model.bundle, "D": model.decoder, "P": pictures[0], "Q": pictures[1]}
    result = invoke(*(names.get(word, word) for word in words), *FLAVOR, "--threads", 1)
    assert result.exit_code == 0, result.output
    assert set(seen) == {("openvino-cpu", 1)}


def test_what_one_runtime_encodes_the_other_decodes(openvino, model, invoke, pictures):
    for out, flavor in (("a.npz", "onnx"), ("b.npz", "openvino-cpu")):
        assert invoke("encode", model.bundle, *pictures, "-o", out, "--flavor", flavor).exit_code == 0
        result = invoke("decode", model.bundle, out, "-o", out[0], "--flavor", "openvino-cpu")
        assert result.exit_code == 0, result.output
    with np.load("a.npz") as ours, np.load("b.npz") as theirs:
        for name in ("z1", "z2", "log_prob"):
            np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, atol=1e-4)
    from pathlib import Path

    for picture in sorted(Path("a").glob("*.png")):
        assert picture.read_bytes() == (Path("b") / picture.name).read_bytes()


def test_verify_and_bench_name_it_as_a_backend(openvino, model, invoke):
    result = invoke("verify", model.bundle, "--backend", "openvino-cpu", "--random-draws", 2, "--json", "v.json")
    assert result.exit_code == 0, result.output
    from pathlib import Path

    report = json.loads(Path("v.json").read_text(encoding="utf-8"))
    assert [cell["encode"] for cell in report["cells"]] == ["openvino-cpu"]
    result = invoke("bench", model.bundle, "--backend", "openvino-cpu", "--iterations", 1, "--batch", 1)
    assert result.exit_code == 0, result.output
    assert "openvino-cpu" in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--flavor", "openvino"], "openvino-cpu-default"),
        (["--flavor", "openvino-cpu", "--device", "cuda"], "elsewhere: leave --device out"),
        (["--flavor", "openvino-cpu", "--threads", "0"], "--threads: must be at least 1"),
    ],
)
def test_options_that_do_not_fit_are_told(openvino, model, invoke, words, said):
    result = invoke("sample", model.bundle, *words)
    assert result.exit_code == 2, result.output
    assert said in " ".join(result.stderr.replace("│", " ").split())


def test_without_the_package_one_line_names_the_extra(model, invoke, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    for words in (["sample", model.bundle, *FLAVOR], ["verify", model.bundle, "--backend", "openvino-cpu"]):
        result = invoke(*words)
        assert result.exit_code == 2, result.output
        assert "pip install 'glow-deploy[openvino]'" in " ".join(result.stderr.split())

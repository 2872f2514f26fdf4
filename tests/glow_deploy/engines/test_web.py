"""onnxruntime-web in Node and in Chromium: the same numbers as ONNX Runtime's, or one line that says why not."""

from __future__ import annotations

import os
import shutil
import stat
import struct
import sys

import numpy as np
import pytest

from glow_deploy.artifact.graph_file import read_graph
from glow_deploy.engines import web
from glow_deploy.engines.onnxruntime import open_onnx
from glow_deploy.engines.web import BROWSER_VARIABLE, WebRuntimeEngine
from glow_deploy.engines.web_runtime import WASM, web_runtime
from glow_deploy.errors import EngineError, MissingDependencyError

NAMES = ("onnxruntime-web", "onnxruntime-web-node")


@pytest.fixture(scope="module")
def graphs(perturbed_glow, tmp_path_factory):
    """The graphs of a class-conditional model with two levels, not square."""
    from glow_core import GlowConfig, save_checkpoint
    from glow_deploy.export import ExportSettings, export

    folder = tmp_path_factory.mktemp("web-engine")
    config = GlowConfig(image_size=(8, 12), levels=2, steps=2, width=8, n_bits=5, num_classes=3)
    save_checkpoint(perturbed_glow(config), folder / "ckpt.pt")
    export(folder / "ckpt.pt", out=folder / "bundle", settings=ExportSettings(golden=5))
    files = {role: (folder / "bundle" / f"{role}.onnx").read_bytes() for role in ("encoder", "decoder")}
    return {**files, "bundle": folder / "bundle"}


@pytest.fixture
def here():
    """Skip where the package or the program is not there."""

    def need(name):
        program = "node" if name.endswith("node") else "chromium"
        if program == "node" and shutil.which("node") is None:
            pytest.skip("Node is not installed")
        if program == "chromium" and not any(map(shutil.which, web._BROWSERS)):
            pytest.skip("no Chromium here")
        try:
            web_runtime(files=WASM)
        except MissingDependencyError as error:
            pytest.skip(str(error))

    return need


def start(data, name="onnxruntime-web"):
    return WebRuntimeEngine(data, graph=read_graph(data, source="graph.onnx"), backend=name, source="graph.onnx")


@pytest.mark.slow
def test_both_directions_are_those_of_onnx_runtime(graphs, here):
    here("onnxruntime-web")
    rng = np.random.default_rng(0)
    x = ((rng.integers(0, 32, (3, 3, 8, 12)) + 0.5) / 32).astype(np.float32)
    y = np.array([2, 0, 1])
    with start(graphs["encoder"]) as encoder, open_onnx(graphs["encoder"], device="cpu") as other:
        found, wanted = encoder.run({"x": x, "y": y}), other.run({"x": x, "y": y})
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            np.testing.assert_allclose(found[key], value, rtol=1e-5, atol=1e-5, err_msg=key)
        assert (found["log_prob"] != encoder.run({"x": x, "y": y * 0})["log_prob"]).any(), "classes do nothing"
        assert encoder.details.backend == "onnxruntime-web"
        assert encoder.details.versions["onnxruntime-web"] == "1.30.0"
        assert encoder.details.provider == "WebAssembly, 1 thread, in Chromium"
    with pytest.raises(EngineError, match="closed"):
        encoder.run({"x": x, "y": y})
    with start(graphs["decoder"]) as decoder:
        z = {key: value for key, value in wanted.items() if key != "log_prob"}
        back = decoder.run({**z, "y": y})["x"]
    np.testing.assert_allclose(back, x, atol=1e-4)


@pytest.fixture
def stand_in(monkeypatch):
    """Files with no runtime in them, for programs that never read them."""
    monkeypatch.setattr(web, "web_runtime", lambda **_: {file.name: b"" for file in WASM})


def script(path, text):
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.skipif(os.name != "posix", reason="the programs of this test are scripts")
def test_a_program_that_ends_is_told_with_its_last_words(graphs, stand_in, tmp_path, monkeypatch):
    name = script(tmp_path / "broken", "import sys; print('first'); sys.exit('no display')")
    monkeypatch.setenv(BROWSER_VARIABLE, str(name))
    with pytest.raises(EngineError, match=r"Chromium ended while it had graph\.onnx: no display"):
        start(graphs["encoder"])
    assert not list(tmp_path.glob("glow-deploy-web*"))


# It answers as the runner does, with what the test names.
ANSWERS = """
import json, struct, sys, urllib.request
base = sys.argv[-1]
def post(path, head, body=b""):
    text = json.dumps(head).encode()
    request = urllib.request.Request(base + path, struct.pack("<II", len(text), 0) + text + body, method="POST")
    urllib.request.urlopen(request).read()
post("ready", READY)
urllib.request.urlopen(base + "work").read()
post("done", DONE)
"""


@pytest.mark.skipif(os.name != "posix", reason="the programs of this test are scripts")
@pytest.mark.parametrize(
    ("ready", "done", "said"),
    [
        ({"error": "no kernel for\nit"}, {}, "onnxruntime-web cannot run graph.onnx in Chromium: no kernel for it"),
        ({"version": "1"}, {"error": "out of memory"}, "cannot run a batch in Chromium: out of memory"),
        ({"version": "1"}, {"outputs": [{"name": "x"}]}, "cannot be read"),
        ({"version": "1"}, [1], "cannot be read"),
        ({"version": "1"}, {"outputs": []}, "returned nothing for z1"),
    ],
)
def test_bad_answers_are_one_line(ready, done, said, graphs, stand_in, tmp_path, monkeypatch):
    text = ANSWERS.replace("READY", repr(ready)).replace("DONE", repr(done))
    monkeypatch.setenv(BROWSER_VARIABLE, str(script(tmp_path / "answers", text)))
    feeds = {"x": np.full((1, 3, 8, 12), 0.5, np.float32), "y": np.zeros(1, np.int64)}
    with pytest.raises(EngineError, match=said) as told, start(graphs["encoder"]) as engine:
        engine.run(feeds)
    assert "\n" not in str(told.value)


def test_what_is_missing_is_said(graphs, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(BROWSER_VARIABLE, raising=False)
    with pytest.raises(MissingDependencyError, match="runs in Chromium, and there is none"):
        start(graphs["encoder"])
    with pytest.raises(MissingDependencyError, match="runs in Node, which is not installed"):
        start(graphs["encoder"], "onnxruntime-web-node")
    monkeypatch.setenv(BROWSER_VARIABLE, "nowhere")
    with pytest.raises(MissingDependencyError, match="there is no nowhere"):
        start(graphs["encoder"])
    monkeypatch.setenv(BROWSER_VARIABLE, sys.executable)
    for variable in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path / "empty"))
    with pytest.raises(MissingDependencyError, match="glow-deploy web"):
        start(graphs["encoder"])


def test_verify_asked_for_what_is_absent_says_so(graphs, monkeypatch, tmp_path):
    from glow_deploy.verify import VerifySettings, verify

    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(BROWSER_VARIABLE, raising=False)
    assert "there is none" in web.web_problem("onnxruntime-web")
    for name in NAMES:
        with pytest.raises(MissingDependencyError, match=name):
            verify(graphs["bundle"], settings=VerifySettings(backends=(name,)))


@pytest.mark.slow
def test_verify_judges_it_like_any_other(graphs, here):
    from glow_deploy.verify import VerifySettings, verify

    here("onnxruntime-web-node")
    both = ("onnxruntime-cpu", "onnxruntime-web-node")
    settings = VerifySettings(backends=both, random_draws=0, largest_batch=1)
    report = verify(graphs["bundle"], settings=settings)
    assert report.sound
    row = next(row for row in report.backends if row.name == "onnxruntime-web-node")
    assert row.canary.detected == "fp32"
    assert {(cell.encode, cell.decode) for cell in report.cells} == {(a, b) for a in both for b in both}


def test_messages_come_back_as_they_were():
    arrays = {"x": np.arange(6, dtype=np.float32).reshape(1, 2, 3), "y": np.array([2**40], np.int64)}
    message = web._pack(arrays)
    assert struct.unpack_from("<I", message)[0] % 8 == 0
    head = web._head(message)
    body = message[8 + struct.unpack_from("<I", message)[0] :]
    text = web.json.dumps({"outputs": head}).encode()
    found = web._unpack(struct.pack("<II", len(text), 0) + text + body)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype

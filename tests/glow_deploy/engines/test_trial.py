"""Graphs that nobody vouches for are tried in a process of their own; real ones that kill it stand here as well."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from glow_deploy.engines import onnxruntime as engine_module
from glow_deploy.engines import open_engine, trial
from glow_deploy.engines.trial import try_graph
from glow_deploy.errors import EngineError


def _graph(nodes, weights=(), shape=("batch", 4, 2, 2)):
    graph = helper.make_graph(
        nodes,
        "hostile",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    return model.SerializeToString()


def test_a_sound_graph_passes_and_one_refused_in_good_order_as_well(tiny):
    try_graph(tiny.encoder().SerializeToString(), work=0, source="encoder.onnx")
    model = tiny.encoder()
    model.opset_import[0].version = 999
    try_graph(model.SerializeToString(), work=0, source="encoder.onnx")


def test_a_crash_is_one_line():
    data = _graph([helper.make_node("DepthToSpace", ["x"], ["out"], blocksize=2**62)])
    with pytest.raises(EngineError, match=r"crash in a test process .*: do not use the file") as raised:
        try_graph(data, work=0, source="crash.onnx")
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith("crash.onnx")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits the memory of a process")
def test_memory_has_a_limit():
    nodes = [
        helper.make_node("Expand", ["x", "shape"], ["wide"]),
        helper.make_node("Exp", ["wide"], ["out"]),
    ]
    data = _graph(nodes, [("shape", np.array([2**16, 4, 2**7, 2**9], np.int64))], shape=(1, 4, 1, 1))  # 64 GiB
    with pytest.raises(EngineError, match="too much memory"):
        try_graph(data, work=0, source="large.onnx")


def test_time_has_a_limit(tiny, monkeypatch):
    monkeypatch.setattr(trial, "_SECONDS", 0.01)
    with pytest.raises(EngineError, match="did not come to an end"):
        try_graph(tiny.encoder().SerializeToString(), work=0, source="slow.onnx")


def test_a_process_that_cannot_start_is_one_line(tiny, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(EngineError, match="could not be started"):
        try_graph(tiny.encoder().SerializeToString(), work=0, source="g.onnx")


def test_nothing_is_imported_from_the_folder_in_hand(tiny, tmp_path, monkeypatch):
    (tmp_path / "numpy.py").write_text("raise SystemExit('a stranger ran')")
    monkeypatch.chdir(tmp_path)
    try_graph(tiny.encoder().SerializeToString(), work=0, source="g.onnx")


def test_lone_files_are_tried_and_those_of_a_bundle_are_not(tiny, tmp_path, monkeypatch):
    tried = []
    monkeypatch.setattr(engine_module, "try_graph", lambda data, **facts: tried.append(facts["source"]))
    lone = tmp_path / "lone" / "encoder.onnx"
    lone.parent.mkdir()
    lone.write_bytes(tiny.encoder().SerializeToString())
    open_engine(lone, device="cpu").close()
    assert tried == [str(lone)]
    files = {f"{model.graph.name}.onnx": model.SerializeToString() for model in (tiny.encoder(), tiny.decoder())}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    (tmp_path / "manifest.json").write_text(json.dumps(tiny.manifest(files)))
    open_engine(tmp_path / "encoder.onnx", device="cpu").close()
    assert len(tried) == 1
    # A file that the manifest does not list is nobody's.
    (tmp_path / "other.onnx").write_bytes(files["encoder.onnx"])
    open_engine(tmp_path / "other.onnx", device="cpu").close()
    assert len(tried) == 2


def test_a_graph_that_fails_the_trial_is_not_opened_here(tiny, tmp_path, monkeypatch):
    def fail(data, *, work, source):
        assert work == onnx_work
        raise EngineError("it crashed")

    onnx_work = 16 * 4 + 16 + 3 * 16 + 3  # the convolution, the sum, three results of 16 values and three of 1
    monkeypatch.setattr(engine_module, "try_graph", fail)
    monkeypatch.setattr(engine_module, "_session", lambda *_: pytest.fail("reached ONNX Runtime"))
    path = tmp_path / "g.onnx"
    onnx.save(tiny.encoder(), path)
    with pytest.raises(EngineError, match="it crashed"):
        open_engine(path, device="cpu")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits the memory of a process")
def test_addresses_that_a_backend_sets_aside_do_not_count_and_memory_does():
    code = (
        "import mmap\n"
        "from glow_deploy.engines.trial_child import _limit\n"
        "_limit(1 << 30, 60, reserving=True)\n"
        "aside = mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ)\n"
        "print('set aside')\n"
        "bytearray(2 << 30)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "set aside\n"
    assert done.stderr.splitlines()[-1] == "MemoryError"

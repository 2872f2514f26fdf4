from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from glow_deploy.artifact.graph_file import read_graph
from glow_deploy.compile import CompileSettings, compile_bundle
from glow_deploy.compile import build as build_module
from glow_deploy.errors import CompileError

pytest.importorskip("tensorrt_rtx", reason="compiling needs tensorrt-rtx")
SMALL = CompileSettings(gpus=("sm86", "sm89"), min_batch=1, opt_batch=2, max_batch=4)


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_tf32_flag_that_stays_set_is_an_error(bundle, monkeypatch):
    class Stubborn:
        def clear_flag(self, flag):
            pass

        def get_flag(self, flag):
            return True

    import tensorrt_rtx

    with pytest.raises(CompileError, match="TF32"):
        build_module._set_tf32(tensorrt_rtx, Stubborn(), SMALL)


def test_a_missing_profile_is_reported_with_tensorrts_own_words(bundle, monkeypatch):
    monkeypatch.setattr(build_module, "_set_profile", lambda *arguments: None)
    before = _names(bundle)
    with pytest.raises(CompileError, match="no optimization profile") as caught:
        compile_bundle(bundle, settings=SMALL)
    assert "\n" not in str(caught.value)
    assert _names(bundle) == before


def test_parser_errors_name_the_node(bundle, tiny, monkeypatch):
    model = tiny.encoder()
    # Our own check would refuse it first. What it lets through may still be too much for a parser.
    graph = read_graph(model.SerializeToString(), source="sound")
    plans = importlib.import_module("glow_deploy.compile.plans")
    monkeypatch.setattr(plans, "read_graph", lambda data, source: graph)
    model.graph.node[1].input[1] = "half"  # a scalar where the convolution's weight belongs
    path = bundle / "broken.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(CompileError, match=r"cannot read broken\.onnx.*level1/step01/invconv"):
        compile_bundle(path, settings=SMALL)
    assert "broken.rtx.trt" not in _names(bundle)


def test_objects_of_a_failed_build_are_never_freed_inside_tensorrt(bundle):
    """A builder kept by a cycle, as a traceback keeps it, locked the next build up when it was freed in its logger."""
    code = """
import gc, importlib, sys
import tensorrt_rtx as trt
from glow_deploy.compile import CompileSettings, compile_bundle

build = importlib.import_module("glow_deploy.compile.build")

class Collecting(trt.ILogger):
    errors = messages = ()

    def __init__(self):
        trt.ILogger.__init__(self)

    def log(self, severity, message):
        if gc.isenabled():  # then Python may collect here at any time
            gc.collect()

def leave_a_builder(trt):
    cycle = [trt.Builder(Collecting())]
    cycle.append(cycle)
    return Collecting()  # TensorRT tells a second logger, with its lock held, that there is another one already

build.keep_log = leave_a_builder
compile_bundle(sys.argv[1], settings=CompileSettings(gpus=("sm86",)), force=True)
assert gc.isenabled()
"""
    subprocess.run([sys.executable, "-c", code, str(bundle)], check=True, timeout=120)


def test_tensorrt_prints_nothing(bundle, capfd):
    compile_bundle(bundle, settings=SMALL)
    assert capfd.readouterr() == ("", "")

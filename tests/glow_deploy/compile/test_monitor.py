from __future__ import annotations

import subprocess
import sys

import pytest

from glow_deploy.compile import CompileSettings, compile_bundle

pytest.importorskip("tensorrt_rtx", reason="compiling needs tensorrt-rtx")
SMALL = CompileSettings(gpus=("sm86", "sm89"), min_batch=1, opt_batch=2, max_batch=4)


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_ctrl_c_while_tensorrt_builds_cancels_the_build(bundle):
    before = _names(bundle)

    def interrupt(what, share):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compile_bundle(bundle, settings=SMALL, progress=interrupt)
    assert _names(bundle) == before


def test_a_real_ctrl_c_is_never_lost(bundle):
    """The handler runs in whatever Python code comes next, often a callback of TensorRT."""
    before = _names(bundle)
    code = """
import os, signal, sys, threading
from glow_deploy.compile import CompileSettings, compile_bundle

def compile_until(seconds, progress):
    sent = []
    def interrupt():
        sent.append(True)
        os.kill(os.getpid(), signal.SIGINT)
    timer = threading.Timer(seconds, interrupt)
    try:
        timer.start()
        while not sent:
            compile_bundle(sys.argv[1], settings=CompileSettings(gpus=("sm86",)), force=True, progress=progress)
    except KeyboardInterrupt:
        return True
    return False

def compile_once():
    compile_bundle(sys.argv[1], settings=CompileSettings(gpus=("sm86",)), force=True)

compile_once()  # a module whose import was cut short would be half there ever after
for seconds in (0.05, 0.1, 0.15, 0.2, 0.3, 0.4):
    for progress in (None, lambda what, share: None):
        assert compile_until(seconds, progress), (seconds, progress)
"""
    subprocess.run([sys.executable, "-c", code, str(bundle)], check=True, timeout=120)
    plans_and_sidecars = {f"{role}.rtx.trt{end}" for role in ("encoder", "decoder") for end in ("", ".json")}
    assert set(_names(bundle)) - set(before) == plans_and_sidecars

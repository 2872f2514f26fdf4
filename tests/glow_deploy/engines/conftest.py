"""Fixtures of the engine tests: a folder of the hand-written graphs, and the stand-ins for CUDA and TensorRT."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def stand_ins():
    spec = importlib.util.spec_from_file_location("glow_test_stand_ins", Path(__file__).with_name("stand_ins.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def bundle(tmp_path, tiny):
    """A folder with both tiny graphs and no manifest."""
    (tmp_path / "encoder.onnx").write_bytes(tiny.encoder().SerializeToString())
    (tmp_path / "decoder.onnx").write_bytes(tiny.decoder().SerializeToString())
    return tmp_path

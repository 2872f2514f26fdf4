"""What more than one folder of tests needs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def making():
    """What the tests of `verify` make and spoil bundles with."""
    return _load("making", Path("verify", "conftest.py"))


@pytest.fixture(scope="session")
def tiny():
    """Graphs of a flow that is written by hand."""
    return _load("tiny_graphs", Path("engines", "tiny_graphs.py"))


def _load(name: str, place: Path):
    spec = importlib.util.spec_from_file_location(f"glow_test_{name}", Path(__file__).parent / place)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module

"""What more than one folder of tests needs."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def making():
    """What the tests of `verify` make and spoil bundles with."""
    path = Path(__file__).parent / "verify" / "conftest.py"
    spec = importlib.util.spec_from_file_location("glow_test_making", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module

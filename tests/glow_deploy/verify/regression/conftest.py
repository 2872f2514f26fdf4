"""A verified bundle of a small perturbed Glow, and its stored report."""

from __future__ import annotations

import copy
import json

import pytest

from glow_deploy.verify import VerifySettings, verify


@pytest.fixture(scope="session")
def model(making, tmp_path_factory):
    """A model with its checkpoint and bundle."""
    return making.export_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="session")
def report(model):
    """The report of one verification with three backends."""
    return verify(model.bundle, settings=VerifySettings(ckpt=model.ckpt, random_draws=0))


@pytest.fixture
def table(report):
    """The same as a JSON value of one's own."""
    return json.loads(report.to_json())


@pytest.fixture
def store(tmp_path):
    """Write a JSON value as a baseline and read it."""
    from glow_deploy.verify.regression import read_baseline

    def write(values):
        path = tmp_path / "baseline.json"
        path.write_text(json.dumps(values))
        return read_baseline(path)

    return write


@pytest.fixture
def against(report, table, store):
    """Compare the report with itself, after `change(stored)` and `now(values)` had their way."""
    from glow_deploy.verify.regression import compare

    def run(change=None, *, now=None, **options):
        values = copy.deepcopy(table)
        if change is not None:
            change(table)
        if now is not None:
            now(values)
        return compare(values, store(table), **options)

    return run

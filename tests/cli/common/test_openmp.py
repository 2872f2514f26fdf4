from __future__ import annotations

import os

import pytest
from glow_cli.common.openmp import wait_briefly

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


@pytest.fixture
def unset(monkeypatch):
    """Nothing is set by the user; what there was is put back afterwards."""
    for name in NAMES:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    return monkeypatch


def told():
    return {name: os.environ[name] for name in NAMES if name in os.environ}


def test_threads_are_told_to_sleep_soon(unset):
    wait_briefly()
    assert told() == {"GOMP_SPINCOUNT": "1000"}


@pytest.mark.parametrize("name", NAMES)
def test_what_the_user_has_set_stays(unset, name):
    unset.setenv(name, "theirs")
    wait_briefly()
    assert told() == {name: "theirs"}

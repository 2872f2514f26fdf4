from __future__ import annotations

import sys

import pytest

from glow_deploy.errors import DataError, MissingDependencyError, UsageError
from glow_deploy.hub.client import hub_errors, need_hub, repo_name


def test_names_and_what_is_missing(monkeypatch):
    assert repo_name("me/faces.v2-a_b") == "me/faces.v2-a_b"
    with pytest.raises(UsageError):
        repo_name("me/" + "x" * 200)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingDependencyError, match=r"glow-deploy\[hub\]"):
        need_hub()


def test_bugs_are_not_blamed_on_the_hub():
    pytest.importorskip("huggingface_hub", reason="the Hub needs the extra `hub`")
    with pytest.raises(ZeroDivisionError), hub_errors("x"):
        raise ZeroDivisionError
    with pytest.raises(DataError, match="x: full"), hub_errors("x"):
        raise OSError("full")

"""The package behind the extra is named where it is missing, and does not talk."""

from __future__ import annotations

import logging
import sys

import pytest

from glow_deploy.errors import MissingDependencyError
from glow_deploy.signing.library import load, quiet


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "model_signing", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'glow-deploy\[sign\]'"):
        load("model_signing")
    assert load("json").loads("1") == 1


def test_what_it_prints_and_logs_is_kept_back_and_nothing_else(capfd):
    logger = logging.getLogger("model_signing._signing.sign_certificate")

    def chatter():
        with quiet():
            print("chatter")
            logger.warning("chatter")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        chatter()
    assert capfd.readouterr() == ("", "")
    print("said")
    logger.warning("said")
    out, err = capfd.readouterr()
    assert out == "said\n"
    assert "chatter" not in err

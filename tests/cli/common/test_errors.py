from __future__ import annotations

import pytest
from glow_cli.common.errors import exit_codes

from glow_core.errors import CheckpointError
from glow_deploy.errors import BundleError, UnsoundModelError


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (BundleError("b is damaged"), 2, "error: b is damaged\n"),
        (CheckpointError("c is damaged"), 2, "error: c is damaged\n"),
        (UnsoundModelError("m is unsound"), 1, "error: m is unsound\n"),
        (BundleError("two\n  lines"), 2, "error: two lines\n"),
        (KeyboardInterrupt(), 130, "error: interrupted\n"),
        (PermissionError(13, "Permission denied", "/x/y"), 2, "error: /x/y: Permission denied; "),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "glow-deploy[train]"),
        (ImportError("import of 'tensorrt_rtx' is blocked"), 2, "glow-deploy[rtx]"),
        (ImportError("no module named other", name="other"), 70, "This is a bug"),
        (ZeroDivisionError("division by zero"), 70, "This is a bug"),
        (OSError("no file name"), 70, "This is a bug"),
    ],
)
def test_errors_become_one_line_and_an_exit_code(capsys, monkeypatch, error, code, words):
    monkeypatch.delenv("GLOW_DEPLOY_DEBUG", raising=False)
    with pytest.raises(SystemExit) as stopped, exit_codes():
        raise error
    assert stopped.value.code == code
    stderr = capsys.readouterr().err
    assert words in stderr
    assert "Traceback" not in stderr
    assert code == 70 or stderr.count("\n") == 1


def test_debug_shows_the_traceback(capsys, monkeypatch):
    monkeypatch.setenv("GLOW_DEPLOY_DEBUG", "1")
    with pytest.raises(SystemExit), exit_codes():
        raise BundleError("b is damaged")
    assert "Traceback" in capsys.readouterr().err

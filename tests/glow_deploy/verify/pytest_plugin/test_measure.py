from __future__ import annotations

import os
import subprocess
import sys

import pytest


def test_the_result_is_measured_by_whom_it_is_needed_where_no_lock_exists(monkeypatch, tmp_path):
    from glow_deploy.verify.pytest_plugin.measure import _exclusive

    monkeypatch.setitem(sys.modules, "fcntl", None)
    with _exclusive(tmp_path / "x.lock"):
        pass


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such lock")
def test_a_lock_is_let_go_when_its_holder_dies(tmp_path):
    from glow_deploy.verify.pytest_plugin.measure import _exclusive

    code = (
        "import os, sys; from pathlib import Path; from glow_deploy.verify.pytest_plugin.measure import _exclusive\n"
        "with _exclusive(Path(sys.argv[1])): os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "x.lock")], check=False, timeout=120)
    assert done.returncode == 9
    with _exclusive(tmp_path / "x.lock"):
        pass


def test_a_result_that_cannot_be_shared_is_an_error_of_the_tests(tmp_path):
    from glow_deploy.verify.pytest_plugin.measure import Case, Measurements

    case = Case(index=0, bundle=tmp_path, backends=None, baseline=None)
    found = Measurements(None, progress=None, shared=tmp_path / "gone").of(case)
    assert "cannot be shared" in found.error

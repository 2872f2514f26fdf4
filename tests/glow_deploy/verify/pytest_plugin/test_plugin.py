"""The plugin among others: it stays out of the way, and works with workers, filters and empty folders."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest_plugins = ["pytester"]
CPU = ("--glow-backends", "onnxruntime-cpu")
HEAVY = ("numpy", "torch", "onnx", "onnxruntime", "tensorrt", "rich", "matplotlib", "jinja2", "glow_core")


def test_importing_the_plugin_imports_nothing_heavy():
    code = "import glow_deploy.verify.pytest_plugin.plugin"
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = {line.rpartition("|")[2].strip().partition(".")[0] for line in done.stderr.splitlines()}
    assert "glow_deploy" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_without_a_bundle_nothing_happens(pytester, run_apart):
    pytester.makepyfile(
        f"""
        import sys

        def test_mine(request):
            assert not set({HEAVY!r}) & set(sys.modules)
            assert "glow_deploy.verify.pytest_plugin.suite" not in sys.modules
            assert not request.config.pluginmanager.has_plugin("glow-deploy-suite")
        """
    )
    result = run_apart("--strict-markers", "--glow-device", "cuda")
    result.assert_outcomes(passed=1)
    assert "glow-deploy" not in result.stdout.str().replace("glow-deploy-", "")


def test_an_empty_folder_without_a_bundle_still_has_no_tests(pytester, run_apart):
    assert run_apart().ret == pytest.ExitCode.NO_TESTS_COLLECTED


@pytest.mark.usefixtures("bundle")
def test_an_empty_folder_is_enough(run_apart):
    result = run_apart("--glow-bundle", "bundle", *CPU)
    assert result.ret == 0
    result.assert_outcomes(passed=9)


@pytest.mark.usefixtures("bundle")
def test_torch_is_never_imported_without_a_checkpoint(pytester, run_apart):
    pytester.makeconftest("import sys\nsys.modules['torch'] = None  # any import of it raises")
    run_apart("--glow-bundle", "bundle", *CPU).assert_outcomes(passed=9)


@pytest.mark.usefixtures("bundle")
def test_two_workers_measure_a_bundle_once(pytester, run_apart):
    pytest.importorskip("xdist")
    pytester.makepyfile(test_own="import time\n\ndef test_mine(): time.sleep(0.1)")
    pytester.makeconftest(
        """
        import importlib
        import os

        run = importlib.import_module("glow_deploy.verify.run")  # `glow_deploy.verify` is a function
        real = run.run_verify

        def counted(*arguments, **options):
            with open("calls.txt", "a") as file:
                file.write(os.environ["PYTEST_XDIST_WORKER"] + "\\n")
            return real(*arguments, **options)

        run.run_verify = counted
        """
    )
    result = run_apart("--glow-bundle", "bundle", *CPU, "-n", 2, "-v", "--glow-json", "r.json")
    assert result.ret == 0, result.stdout.str()
    result.assert_outcomes(passed=10)
    assert len((pytester.path / "calls.txt").read_text().splitlines()) == 1
    assert "bundle: round trip sound" in result.stdout.str()
    assert (pytester.path / "r.json").is_file()
    workers = {line.split("]")[0] for line in result.outlines if line.startswith("[gw") and "PASSED" in line}
    assert workers == {"[gw0", "[gw1"}


def test_workers_report_a_damaged_bundle_once_in_one_line(bundle, run_apart):
    pytest.importorskip("xdist")
    (bundle / "manifest.json").write_text("{")
    result = run_apart("--glow-bundle", "bundle", *CPU, "-n", 2)
    assert result.ret not in (0, pytest.ExitCode.INTERNAL_ERROR)
    text = result.stdout.str()
    assert "not readable JSON" in text
    assert "Traceback" not in text


@pytest.mark.usefixtures("bundle")
def test_failed_first_and_last_failed_work(run, pytester):
    assert run(*CPU).ret == 0
    pytester.makepyfile(test_own="def test_mine(): assert False")
    assert run(*CPU).ret == 1
    run(*CPU, "--last-failed").assert_outcomes(failed=1)


@pytest.mark.usefixtures("bundle")
def test_common_ways_to_run_pytest(run):
    for options in (("--durations=3",), ("--setup-show",), ("-s",), ("-x", "--tb=line"), ("-p", "no:terminal")):
        assert run(*CPU, "-k", "verdict", *options).ret == 0


@pytest.mark.usefixtures("bundle")
def test_progress_is_shown_on_a_terminal_and_quiet_is_quiet(run):
    shown = run(*CPU, "-k", "verdict").stdout.str()
    assert "glow-deploy: measuring bundle" in shown
    assert "glow-deploy: measured bundle in" in shown
    quiet = run(*CPU, "-k", "verdict", "-q").stdout.str()
    assert "glow-deploy: measur" not in quiet

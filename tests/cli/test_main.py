from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from glow_deploy import __version__

COMMANDS = (
    *(
        "export",
        "convert",
        "compile",
        "verify",
        "golden",
        "sign",
        "triton",
        "hub",
        "bench",
        "sample",
        "encode",
        "decode",
        "score",
        "interpolate",
        "directions",
        "edit",
        "bulk",
        "inpaint",
        "project",
        "explore",
        "web",
        "serve",
        "inspect",
        "doctor",
        "train",
        "demo",
    ),
)
HEAVY = ("torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "matplotlib", "PIL", "numpy", "datasets")


def test_help_names_every_command_and_the_exit_codes(invoke):
    result = invoke("--help")
    assert result.exit_code == 0
    for command in COMMANDS:
        assert f" {command} " in result.output, command
    assert "Exit codes" in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_a_summary(invoke, command):
    result = invoke(command, "--help")
    assert result.exit_code == 0
    assert f" {command} " in result.output.partition("[OPTIONS]")[0]
    assert "--quiet" in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_the_overview_says_what_the_command_says(command):
    from glow_cli.catalogue import COMMANDS as ENTRIES
    from glow_cli.catalogue import load

    assert load(command).help.split("\n\n")[0] == ENTRIES[command].summary
    assert set(ENTRIES) == set(COMMANDS)


def test_no_arguments_shows_the_help(invoke):
    assert "Usage" in invoke().output


def test_version(invoke):
    result = invoke("--version")
    assert (result.exit_code, result.output.strip()) == (0, f"glow-deploy {__version__}")


def test_unknown_command_exits_with_2_and_suggests(invoke):
    result = invoke("smaple")
    assert result.exit_code == 2
    assert "sample" in result.stderr


def test_help_imports_nothing_heavy(run_process):
    code = (
        "import sys, atexit\n"
        "sys.argv = ['glow-deploy', '--help']\n"
        "import glow_deploy, glow_core\n"
        "from glow_cli.main import run\n"
        f"atexit.register(lambda: print('LOADED', sorted(set(sys.modules) & set({HEAVY!r}))))\n"
        "run()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "LOADED []" in done.stdout


def test_the_check_for_heavy_imports_can_fail():
    code = f"import sys, numpy; print('LOADED', sorted(set(sys.modules) & set({HEAVY!r})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert "LOADED ['numpy']" in done.stdout


def test_help_takes_at_most_three_times_the_bare_libraries():
    """Processor time, because both run one thread and the wall clock is shared with other tests."""
    resource = pytest.importorskip("resource", reason="Windows does not tell the processor time of children")

    def seconds(code: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    codes = (
        "import typer, rich",
        "import sys; sys.argv = ['glow-deploy', '--help']\nfrom glow_cli.main import run\nrun()",
    )
    bare, ours = (min(times) for times in zip(*([seconds(code) for code in codes] for _ in range(7)), strict=True))
    assert ours <= 3 * bare, f"--help {ours:.3f} s, bare {bare:.3f} s"


def test_a_closed_pipe_is_no_verdict(model, place):
    code = "from glow_cli.main import run; import sys; sys.argv = ['glow-deploy', 'doctor']; run()"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True, check=False, timeout=60
    )
    os.close(writer)
    assert done.returncode == 141, "1 would say that a model is unsound"
    assert done.stderr == ""


def test_ctrl_c_exits_with_130(model, place):
    code = "from glow_cli.main import run; import sys; sys.argv = {!r}; run()".format(
        ["glow-deploy", "sample", "--engine", str(model.decoder), "-n", "100000000", "--out", "many"],
    )
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 30
    while not (place / "many").is_dir() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130
    assert stderr == "error: interrupted\n"
    assert not list(place.glob("many/.*")), "a picture was left half written"


def test_completion_script_is_printed(run_process):
    # Typer otherwise asks the process tree for the shell.
    done = run_process("--show-completion", "bash", environment={"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"})
    assert "_GLOW_DEPLOY_COMPLETE" in done.stdout

"""Every command's --help ends with examples, and the examples work."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys

import pytest
from glow_cli.catalogue import COMMANDS, load

# Each ends by itself only on a machine with a GPU, serves until it is stopped, or takes a file of another project.
NOT_RUN = {
    "explore": "serves until Ctrl-C",
    "web": "needs the package onnxruntime-web",
    "serve": "serves until Ctrl-C",
    "hub": "needs the network",
    "convert": "needs another project's checkpoint",
    "demo": "takes minutes",
}
SMALLER = (
    (r"--max-steps \d+", "--max-steps 2"),
    (r"--levels 2 --steps 8 --width 64", "--levels 1 --steps 1 --width 4"),
    (r"--precision auto", "--precision mixed"),
    (r"^bench ", "bench --iterations 3 "),
    (r"^(inpaint|project) ", r"\1 --steps 3 "),
    (r"^verify (.*--data faces)", r"verify --limit 4 --random-draws 2 \1"),
    (r"-n 1000000 --engine ray --workers 64", "-n 20"),
    (r"^directions ", "directions --limit 60 --range-images 4 "),
)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_examples_that_parse(name, invoke):
    shown = invoke(name, "--help").output
    assert COMMANDS[name].examples
    for example in COMMANDS[name].examples:
        assert " ".join(example.split()[:4]) in " ".join(shown.split())
        words = shlex.split(example)
        assert words[:2] == ["glow-deploy", name]
        load(name).make_context(name, words[2:])


def test_an_example_with_a_wrong_option_would_be_noticed():
    with pytest.raises(Exception, match="No such option"):
        load("sample").make_context("sample", ["bundle", "--no-such-option"])


def test_the_package_runs_as_a_module():
    for module in ("glow_deploy", "glow_cli"):
        done = subprocess.run(
            [sys.executable, "-m", module, "--version"], capture_output=True, text=True, check=True, timeout=60
        )
        assert re.fullmatch(r"glow-deploy \d+\.\d+\.\d+\S*\n", done.stdout)


@pytest.fixture(scope="module")
def demo(tmp_path_factory, signing_keys):
    """What `demo` leaves, keys of one's own, and a place to work in."""
    from glow_cli.main import app
    from typer.testing import CliRunner

    folder = tmp_path_factory.mktemp("examples")
    done = CliRunner().invoke(app, ["demo", "--quick", "--out", str(folder / "demo-out")])
    assert done.exit_code == 0, done.output
    for name in ("private.pem", "public.pem", "release.pem", "chain.pem", "root.pem"):
        shutil.copy(signing_keys / name, folder)
    return folder


@pytest.mark.slow
def test_the_examples_run(demo, invoke, monkeypatch):
    """In the order of the overview: later ones use what earlier ones left."""
    monkeypatch.chdir(demo)
    shutil.copy("demo-out/bundle/decoder.onnx", "decoder.trt")  # told by its content; a plan would need a GPU
    ran = 0
    for name, entry in COMMANDS.items():
        if name in NOT_RUN:
            continue
        for example in entry.examples:
            line = example.removeprefix("glow-deploy ")
            for pattern, smaller in SMALLER:
                line = re.sub(pattern, smaller, line)
            result = invoke(*shlex.split(line))
            assert result.exit_code == 0, f"{line}\n{result.output}"
            ran += 1
    assert ran >= 18

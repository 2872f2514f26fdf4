"""What docs/ci promises: its commands run, its options exist, and both pipelines are whole and say the same."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
import tomllib

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[4]
CI = ROOT / "docs" / "ci"
README = (CI / "README.md").read_text()
ACTIONS = (CI / "github-actions.yml").read_text()
JENKINS = (CI / "Jenkinsfile").read_text()

_BLOCK = re.compile(r"^(?:<!--\s*(?P<marker>[^>]*?)\s*-->\n)?```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
_SHELL = re.compile(r"\bsh '''(.*?)'''|\bsh '([^'\n]*)'", re.DOTALL)
_TOOLS = ("glow-deploy", "pytest")


def commands(text):
    """Commands line by line, continued lines joined, blanks evened out."""
    lines = text.replace("\\\n", " ").splitlines()
    return [" ".join(line.split()) for line in lines if line.strip() and not line.lstrip().startswith("#")]


def documented(marker):
    return [
        c for block in _BLOCK.finditer(README) if (block["marker"] or "") == marker for c in commands(block["text"])
    ]


@pytest.fixture(scope="module")
def workflow():
    return pytest.importorskip("yaml").safe_load(ACTIONS)


def actions_commands(workflow):
    return [c for job in workflow["jobs"].values() for step in job["steps"] for c in commands(step.get("run", ""))]


def jenkins_commands():
    return [c for match in _SHELL.finditer(JENKINS) for c in commands(match[1] or match[2])]


@pytest.mark.slow
def test_every_command_for_the_cpu_runs(model, tmp_path, load_plugin):
    (tmp_path / "models").mkdir()
    shutil.copy(model.ckpt, tmp_path / "models" / "ckpt.pt")
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTEST_ADDOPTS": shlex.join(load_plugin),
    }
    found = documented("")
    assert len(found) >= 5
    for command in found:
        done = subprocess.run(
            ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    for pattern in ("report-cpu.html", "report-cpu.json", "junit-cpu.xml", "baselines/cpu.json"):
        assert (tmp_path / pattern).stat().st_size > 0
    cases = [case.get("name") for case in ElementTree.parse(tmp_path / "junit-cpu.xml").getroot().iter("testcase")]
    assert "pytorch-fp32->onnxruntime-cpu[golden]" in cases
    assert json.loads((tmp_path / "report-cpu.json").read_text())["sound"] is True


def test_the_commands_for_the_gpu_are_whole(load_plugin):
    found = documented("gpu")
    assert any(command.startswith("glow-deploy compile") for command in found)
    assert any("--glow-baseline=" in command for command in found)
    for command in [*found, *documented("")]:
        check_options(command)


def check_options(command):
    """Parse a command without running it."""
    words = shlex.split(command)
    if words[0] == "glow-deploy":
        from glow_cli.catalogue import load

        load(words[1]).make_context(words[1], words[2:])
    elif words[0] == "pytest":
        known = plugin_options()
        used = {word.partition("=")[0] for word in words if word.startswith("--glow-")}
        assert used
        assert used <= known


def plugin_options():
    from glow_deploy.verify.pytest_plugin.plugin import pytest_addoption

    parser = pytest.Parser(_ispytest=True)
    pytest_addoption(parser)
    return {name for group in parser._groups for option in group.options for name in option.names()}


def test_the_option_check_can_fail():
    with pytest.raises(AssertionError):
        check_options("pytest --glow-bundle=b --glow-no-such-option")
    with pytest.raises(Exception, match="No such option"):
        check_options("glow-deploy verify bundle --no-such-option")


def test_every_option_of_the_plugin_is_documented():
    named = set(re.findall(r"--glow-[a-z-]+", README))
    assert named == plugin_options()


def test_both_pipelines_say_what_the_page_says(workflow):
    known = {*documented(""), *documented("gpu"), "glow-deploy doctor"}
    for found in (actions_commands(workflow), jenkins_commands()):
        ours = [command for command in found if command.startswith(_TOOLS)]
        assert len(ours) == 5
        assert set(ours) <= known
    assert [c for c in actions_commands(workflow) if c.startswith(_TOOLS)] == [
        c for c in jenkins_commands() if c.startswith(_TOOLS)
    ]


def test_the_workflow_is_whole(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    assert set(workflow[True]) == {"push", "pull_request"}  # YAML reads `on` as true
    for job in workflow["jobs"].values():
        assert job["runs-on"]
        assert job["timeout-minutes"] > 0
        assert job.get("needs", "cpu") in workflow["jobs"]
        assert all(("run" in step) != ("uses" in step) for step in job["steps"])
        assert all("@v" in step["uses"] for step in job["steps"] if "uses" in step)
    assert "push" in workflow["jobs"]["gpu"]["if"]
    steps = [step for job in workflow["jobs"].values() for step in job["steps"]]
    uploaded = {s["with"]["name"]: s["with"]["path"] for s in steps if "upload-artifact" in s.get("uses", "")}
    downloaded = {s["with"]["name"] for s in steps if "download-artifact" in s.get("uses", "")}
    assert downloaded <= set(uploaded)
    written = set(re.findall(r"=((?:report|junit)-\S+)", " ".join(actions_commands(workflow))))
    assert written == set(" ".join(uploaded[name] for name in ("reports-cpu", "reports-gpu")).split())


def test_the_jenkinsfile_is_whole():
    code = re.sub(r"//[^\n]*", "", _SHELL.sub("sh ''", JENKINS))
    for opening, closing in ("{}", "()"):
        assert code.count(opening) == code.count(closing)
    assert code.lstrip().startswith("pipeline {")
    assert re.findall(r"stage\('(\w+)'\)", code) == ["CPU", "GPU"]
    assert code.count("agent { label") == code.count("steps {") == code.count("junit ") == 2
    assert re.findall(r"\bstash name: '(\w+)'", code) == re.findall(r"\bunstash '(\w+)'", code) == ["bundle"]
    written = set(re.findall(r"=((?:report|junit)-\S+)", " ".join(jenkins_commands())))
    assert written == set(re.findall(r"(?:report|junit)-[\w.]+", " ".join(re.findall(r"artifacts: '([^']*)'", code))))


def test_the_extras_that_are_installed_exist(workflow):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for text in (README, *actions_commands(workflow), *jenkins_commands()):
        for extras in re.findall(rf"{project['name']}\[([a-z,]+)\]", text):
            assert set(extras.split(",")) <= set(project["optional-dependencies"])


def test_links_lead_somewhere():
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", README)
    assert set(links) == {"github-actions.yml", "Jenkinsfile"}
    assert all((CI / link).is_file() for link in links)


def test_the_tests_named_on_the_page_are_those_collected(model, run, pytester):
    shutil.copytree(model.bundle, pytester.path / "bundle")
    result = run("--collect-only", "-q", "--glow-backends", "onnxruntime-cpu,tensorrt")
    named = re.findall(r"`(bundle::[^`]+)`", README)
    assert len(named) >= 5
    for name in named:
        if "baseline" not in name:
            assert name in result.outlines

"""What a user installs: the metadata, the files in the wheel and in the sdist, and the images' recipes."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
import tomllib
import yaml

import glow_deploy

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_version_is_one():
    version = glow_deploy.__version__
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", version)
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    changes = (ROOT / "CHANGELOG.md").read_text()
    if ".dev" in version:  # between two releases: what is cited is the last one
        assert changes.index("## Unreleased") < changes.index(f"## {citation['version']} - ")
        assert citation["version"].split(".") < version.split(".")
        version = citation["version"]
    assert citation["version"] == version
    found = re.search(rf"^## {re.escape(version)} - (\d{{4}}-\d\d-\d\d)$", changes, re.M)
    assert found, f"CHANGELOG.md has no heading for {version}"
    assert str(citation["date-released"]) == found[1]
    assert citation["cff-version"] == "1.2.0"


def test_the_two_onnx_runtimes_are_never_asked_for_together():
    extras = PROJECT["optional-dependencies"]
    asked = {name: {re.split(r"[<>=\[;]", item)[0] for item in items} for name, items in extras.items()}
    assert "onnxruntime" in asked["cpu"]
    assert "onnxruntime-gpu" in asked["gpu"]
    others = [
        *PROJECT["dependencies"],
        *(item for name, items in extras.items() if name not in ("cpu", "gpu") for item in items),
    ]
    assert not any(item.startswith("onnxruntime") for item in others)
    assert not any(re.search(r"glow-deploy\[[^\]]*(cpu|gpu)", item) for item in others)


def test_every_extra_named_anywhere_exists():
    known = set(PROJECT["optional-dependencies"])
    texts = [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "docs" / "ci").iterdir(),
        *(ROOT / "docker").iterdir(),
    ]
    texts += [
        *(ROOT / "glow_deploy").rglob("*.py"),
        *(ROOT / "cli").rglob("*.py"),
        ROOT / ".github" / "workflows" / "ci.yml",
    ]
    named = set()
    for path in texts:
        for group in re.findall(r"(?:glow-deploy|\.whl\)|-e '\.|install '\.)\[([a-z,]+)\]", path.read_text()):
            named |= set(group.split(","))
    assert {"cpu", "gpu", "train"} <= named
    assert named <= known


@pytest.mark.parametrize("name", ["Dockerfile.cpu", "Dockerfile.cuda"])
def test_an_image_copies_what_is_there(name):
    text = (ROOT / "docker" / name).read_text()
    sources = [word for line in re.findall(r"^COPY (?!--from)(.*)$", text, re.M) for word in line.split()[:-1]]
    assert {"glow_core", "glow_deploy", "cli", "constraints.txt"} <= set(sources)
    assert all((ROOT / source).exists() for source in sources)
    assert re.search(r"^USER glow$", text, re.M), "it must not run as root"


def test_workflows_and_templates_are_yaml():
    for path in sorted((ROOT / ".github").rglob("*.yml")):
        assert yaml.safe_load(path.read_text()), path.name
    release = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())
    assert release["jobs"]["publish"]["permissions"] == {"id-token": "write"}


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The sdist, and the wheel made from what the sdist holds."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder)]
    done = subprocess.run([*command, "--sdist", str(ROOT)], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (sdist,) = folder.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (source,) = (folder / "unpacked").iterdir()
    done = subprocess.run([*command, "--wheel", str(source)], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (wheel,) = folder.glob("*.whl")
    return source, wheel


@pytest.mark.slow
def test_the_wheel_holds_code_and_data_and_no_tests(built):
    with zipfile.ZipFile(built[1]) as archive:
        names = set(archive.namelist())
    for needed in (
        "glow_deploy/data/faces.npz",
        "glow_deploy/data/faces.LICENSE.md",
        "glow_deploy/verify/html/templates/page.html",
        "glow_deploy/explore/page/transport.js",
        "glow_deploy/page/page.js",
        "glow_deploy/web/page/worker.js",
        "glow_deploy/engines/web_page/runner.mjs",
        "glow_deploy/py.typed",
        "glow_core/py.typed",
        "glow_cli/py.typed",
        "glow_cli/commands/export.py",
    ):
        assert needed in names
    assert not any(name.startswith(("tests/", "docs/", "cli/")) for name in names)
    code = {
        str(path.relative_to(ROOT)) for folder in ("glow_core", "glow_deploy") for path in (ROOT / folder).rglob("*.py")
    }
    assert code <= names


@pytest.mark.slow
def test_the_sdist_tests_itself(built):
    source, _ = built
    for needed in (
        "tests/conftest.py",
        "docs/architecture.toml",
        "constraints.txt",
        "Makefile",
        "mkdocs.yml",
        "CITATION.cff",
        ".ci/run",
        ".dockerignore",
        ".github/workflows/release.yml",
    ):
        assert (source / needed).is_file()
    # The unpacked code itself, not the one that is installed.
    alias = source / "alias"
    alias.mkdir()
    for name, folder in (("glow_core", "glow_core"), ("glow_deploy", "glow_deploy"), ("glow_cli", "cli")):
        (alias / name).symlink_to(source / folder)
    code = (
        f"import sys; sys.path.insert(0, {str(alias)!r}); import glow_deploy, pytest\n"
        f"assert glow_deploy.__file__.startswith({str(alias)!r})\n"
        "raise SystemExit(pytest.main(['-q', '-p', 'no:cacheprovider', '-m', 'not slow', "
        "'tests/glow_core/test_config.py', 'tests/test_packaging.py', "
        "'tests/glow_deploy/graphs/test_bytes.py', 'tests/glow_deploy/test_spelling.py']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]

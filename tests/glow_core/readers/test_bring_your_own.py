"""The worked page on readers of other packages, done word for word, and what goes wrong with such readers."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from glow_core.errors import CheckpointError
from glow_core.readers import READERS, read_checkpoint
from glow_core.readers.installed import installed_readers

PAGE = (Path(__file__).parents[3] / "docs" / "bring-your-own-glow.md").read_text()


def block(after):
    """The first fenced block after some words of the page."""
    return re.search(r"```(?:python|sh|toml)\n(.*?)^```$", PAGE[PAGE.index(after) :], re.M | re.S)[1]


def install(folder, *, name="my-glow", value="my_glow.reader:READER", package="my-glow-package"):
    """What pip leaves of a package with an entry point."""
    info = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[glow_deploy.readers]\n{name} = {value}\n")


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder that packages are installed in."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    return folder


@pytest.fixture
def my_glow(site):
    package = site / "my_glow"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "model.py").write_text(block("`my_glow/model.py`:"))
    (package / "reader.py").write_text(block("`my_glow/reader.py`:"))
    assert 'my-glow = "my_glow.reader:READER"' in block("the `pyproject.toml` of your package")
    install(site)
    return package


@pytest.fixture
def checkpoint(my_glow, tmp_path):
    run([sys.executable, "-c", block("A checkpoint of it")], site=my_glow.parent, folder=tmp_path)
    return tmp_path / "my_glow.pt"


def run(command, *, site, folder):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PYTHONPATH": str(site), "PATH": path}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_package_of_the_page_installs(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "my_glow").mkdir(parents=True)
    (source / "my_glow" / "model.py").write_text(block("`my_glow/model.py`:"))
    (source / "my_glow" / "reader.py").write_text(block("`my_glow/reader.py`:"))
    (source / "pyproject.toml").write_text(block("the `pyproject.toml` of your package"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(source)]
    run(pip, site=target, folder=tmp_path)
    code = "from glow_core.readers import READERS; from glow_core.readers.installed import installed_readers\n"
    code += "print([reader.project for reader in installed_readers(READERS).readers])"
    assert run([sys.executable, "-c", code], site=target, folder=tmp_path).strip() == "['my-glow']"


@pytest.mark.slow
def test_the_page_works_word_for_word(my_glow, checkpoint, tmp_path):
    out = ""
    for line in block("every command knows your checkpoints:").splitlines():
        out += run(["bash", "-c", line], site=my_glow.parent, folder=tmp_path)
    assert "note: It is taken to be trained on 8-bit pixels." in out
    assert "sound: " in out
    (tmp_path / "check.py").write_text(block("compare the two once:"))
    run([sys.executable, "check.py"], site=my_glow.parent, folder=tmp_path)


def test_what_the_file_does_not_say_is_asked_for(my_glow, checkpoint):
    with pytest.raises(CheckpointError, match=r"does not say the size of its images: give --image-size HxW"):
        read_checkpoint(checkpoint)


def test_a_broken_reader_is_named_and_hides_nothing(site, checkpoint, tmp_path):
    (site / "broken.py").write_text("raise RuntimeError('half installed')")
    install(site, name="broken", value="broken:READER", package="broken-package")
    (site / "wrong.py").write_text("READER = 3")
    install(site, name="wrong", value="wrong:READER", package="wrong-package")
    found = installed_readers(READERS)
    assert [reader.project for reader in found.readers] == ["my-glow"]
    assert "the reader broken of broken-package cannot be loaded (RuntimeError: half installed)" in found.broken
    assert "the reader wrong of wrong-package is a int, not a glow_core.readers.Reader" in found.broken
    torch.save({"a.b": torch.zeros(3)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="broken of broken-package cannot be loaded"):
        read_checkpoint(tmp_path / "other.pt")


def test_two_readers_for_one_project_are_an_error(site, my_glow):
    install(site, name="again", package="another-package")
    with pytest.raises(CheckpointError, match="my-glow: again of another-package and my-glow of my-glow-package"):
        installed_readers(READERS)


def test_a_reader_for_a_project_that_is_known_is_an_error(site):
    (site / "mine.py").write_text("from glow_core.readers.openai import READER")
    install(site, value="mine:READER")
    with pytest.raises(CheckpointError, match="openai/glow: glow-deploy itself and my-glow"):
        installed_readers(READERS)

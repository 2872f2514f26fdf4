"""What the README and the docs promise: their commands parse and run, their Python runs, their links lead somewhere.

Blocks fenced with ```sh or ```python are run in the order of the page, in a folder that holds what the demo leaves
(`demo-out/`), its bundle (`ckpt-bundle/`) and a few samples (`samples/`). An HTML comment on the line above a block
says more: `<!-- gpu -->` needs a GPU, `<!-- not run: REASON -->` is only checked for its options.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = (README, *sorted((ROOT / "docs").rglob("*.md")))

_BLOCK = re.compile(
    r"^(?:<!--\s*(?P<marker>[^>]*?)\s*-->\n)?```(?P<language>sh|python)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"(?:\]\(|(?:src|href)=\")(?!https?:|mailto:|#)([^)\"#\s]+)")
# The same commands at a size for tests.
_REDUCED = (
    (re.compile(r"^make demo$", re.MULTILINE), "glow-deploy demo --quick --out demo-out"),
    (re.compile(r"^glow-deploy demo(?!.*--quick)", re.MULTILINE), "glow-deploy demo --quick"),
    (re.compile(r"--max-(?:steps|epochs|seconds) \S+"), "--max-steps 4"),
    (re.compile(r"--(steps|width) \d+"), r"--\1 2"),
    (re.compile(r"(-n|--count) \d{3,}"), r"\1 20"),
    (re.compile(r"--limit \d+"), "--limit 8"),
    (
        re.compile(r"^glow-deploy bench(?!.*--(?:duration|iterations))", re.MULTILINE),
        "glow-deploy bench --iterations 3",
    ),
)
# They make an environment or run this very suite.
_LEFT_OUT = re.compile(
    r"^(source .venv|make (test|test-slow|test-gpu|install|lint|docs|bench)|git clone|pip install|python -m venv)\b"
)


@dataclass(frozen=True)
class Block:
    """One fenced block of commands."""

    marker: str
    text: str
    line: int
    language: str = "sh"

    @property
    def commands(self) -> list[str]:
        """Its commands without comments, continued lines joined."""
        joined = self.text.replace("\\\n", " ")
        return [line.strip() for line in joined.splitlines() if line.strip() and not line.lstrip().startswith("#")]


def blocks(text: str) -> list[Block]:
    return [
        Block(
            marker=(match["marker"] or "").strip(),
            text=match["text"],
            line=text.count("\n", 0, match.start("text")) + 1,
            language=match["language"],
        )
        for match in _BLOCK.finditer(text)
    ]


def reduced(command: str) -> str:
    for pattern, replacement in _REDUCED:
        command = pattern.sub(replacement, command)
    return command


def parse(command: str) -> None:
    """Parse a `glow-deploy` command line without running it; raises what Typer raises for wrong options."""
    from glow_cli.catalogue import load

    words = shlex.split(command, comments=True)[1:]
    words = words[: words.index("|")] if "|" in words else words
    if not words or words[0].startswith("-"):
        return
    load(words[0]).make_context(words[0], words[1:])


def test_blocks_and_markers_are_found():
    text = "# T\n```sh\na \\\n  b\n# c\n```\n<!-- gpu -->\n```sh\nd\n```\n```text\ne\n```\n"
    assert [(block.marker, block.commands, block.line) for block in blocks(text)] == [
        ("", ["a    b"], 3),
        ("gpu", ["d"], 9),
    ]


def test_sizes_are_reduced():
    assert reduced("make demo") == "glow-deploy demo --quick --out demo-out"
    assert reduced("glow-deploy demo --out x") == "glow-deploy demo --quick --out x"
    assert reduced("glow-deploy sample --engine e -n 10000 --out d/") == "glow-deploy sample --engine e -n 20 --out d/"
    assert reduced("glow-deploy train --data faces --max-seconds 600 --out r").count("--max-steps 4") == 1


def test_the_parse_check_can_fail():
    parse("glow-deploy sample --engine decoder.onnx -n 4")
    with pytest.raises(Exception, match="No such option"):
        parse("glow-deploy sample --engine decoder.onnx --no-such-option")
    with pytest.raises(KeyError):
        parse("glow-deploy no-such-command")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_shown_exists_with_its_options(page):
    for block in blocks(page.read_text()):
        for command in block.commands if block.language == "sh" else ():
            if command.startswith("glow-deploy"):
                parse(command)


def test_the_readme_shows_the_main_commands_and_is_short():
    text = README.read_text()
    shown = {
        command.split()[1] for block in blocks(text) for command in block.commands if "glow-deploy " in command[:12]
    }
    assert {"export", "verify", "sample"} <= shown
    assert len(text.splitlines()) <= 160


def test_relative_links_lead_somewhere():
    for document in (*PAGES, ROOT / "CHANGELOG.md"):
        text = document.read_text()
        broken = [target for target in _LINK.findall(text) if not (document.parent / target).exists()]
        assert broken == [], document.name


def test_the_link_check_can_fail():
    assert _LINK.findall('[a](docs/x.md#part) [b](https://x.y) [c](#here) <img src="p.png">') == ["docs/x.md", "p.png"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """What the demo leaves, at a size for tests."""
    folder = tmp_path_factory.mktemp("docs")
    for command in (
        "glow-deploy demo --quick --out demo-out",
        "glow-deploy export demo-out/ckpt.pt",
        "glow-deploy sample ckpt-bundle -n 4 --out samples/",
    ):
        run(command, folder)
    (folder / "tests").mkdir()
    (folder / "tests" / "fixtures").symlink_to(ROOT / "tests" / "fixtures")
    return folder


def run(command, folder, where=""):
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=environment, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, f"{where}{command}\n{done.stdout}\n{done.stderr}"


def run_page(page, folder, *, marker):
    """Run the blocks with this marker; returns how many there were."""
    found = [block for block in blocks(page.read_text()) if block.marker == marker]
    for block in found:
        where = f"{name_of(page)} line {block.line}: "
        if block.language == "python":
            (folder / "block.py").write_text(block.text)
            run(f"{shlex.quote(sys.executable)} block.py", folder, where)
            continue
        for command in block.commands:
            if not _LEFT_OUT.match(command):
                run(reduced(command), folder, where)
    return len(found)


def runs_here(page):
    """The page on CI has files of its own, and tests/glow_deploy/verify/pytest_plugin/test_ci_docs.py runs it."""
    return page.parent.name != "ci" and any(block.marker == "" for block in blocks(page.read_text()))


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if runs_here(page)], ids=name_of)
def test_a_page_runs(page, demo, tmp_path):
    folder = tmp_path / "page"
    shutil.copytree(demo, folder, symlinks=True)
    if page == README:  # the newcomer has nothing yet
        shutil.rmtree(folder / "demo-out")
        shutil.rmtree(folder / "ckpt-bundle")
    if page.name == "export.md":  # it makes the bundle
        shutil.rmtree(folder / "ckpt-bundle")
    assert run_page(page, folder, marker="") > 0


@pytest.mark.gpu
@pytest.mark.parametrize("page", [page for page in PAGES if "<!-- gpu -->" in page.read_text()], ids=name_of)
def test_a_page_runs_on_a_gpu(page, demo, tmp_path):
    from glow_deploy.engines.device import count_gpus

    if count_gpus() == 0:
        pytest.skip("no NVIDIA GPU or no driver was found")
    folder = tmp_path / "page"
    shutil.copytree(demo, folder, symlinks=True)
    assert run_page(page, folder, marker="gpu") > 0


def test_the_command_reference_is_up_to_date():
    spec = importlib.util.spec_from_file_location("write_commands", ROOT / "scripts" / "write_commands.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    page = (ROOT / "docs" / "commands.md").read_text()
    assert page == module.page(), "run python scripts/write_commands.py"


@pytest.mark.parametrize("package", ["glow_core", "glow_deploy"])
def test_every_public_name_of_a_package_stands_on_a_page_of_the_api(package):
    shown = {
        module
        for page in (ROOT / "docs" / "api").glob("*.md")
        for module in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
    }
    module = importlib.import_module(package)
    names = [name for name in getattr(module, "__all__", dir(module)) if not name.startswith("_")]
    objects = {name: getattr(module, name) for name in names}
    places = {name: value.__module__ for name, value in objects.items() if hasattr(value, "__module__")}
    assert len(places) >= 8
    assert [name for name, place in places.items() if place not in shown] == []

"""What the README promises: its commands parse and run, and its links lead somewhere.

Blocks fenced with ```sh are run in order in one folder. An HTML comment on the line above a block says more:
`<!-- gpu -->` needs a GPU, `<!-- slow -->` takes long, `<!-- not run: REASON -->` is only checked for its options.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"

_BLOCK = re.compile(r"^(?:<!--\s*(?P<marker>[^>]*?)\s*-->\n)?```sh\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
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
_LEFT_OUT = re.compile(r"^(make (test|test-slow|test-gpu|install|lint|bench)|git clone|pip install|python -m venv)\b")


@dataclass(frozen=True)
class Block:
    """One fenced block of commands."""

    marker: str
    text: str
    line: int

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


def test_every_command_shown_exists_with_its_options():
    shown = [
        (block.line, command)
        for block in blocks(README.read_text())
        for command in block.commands
        if command.startswith("glow-deploy")
    ]
    assert shown, "the README shows no glow-deploy command"
    for _, command in shown:
        parse(command)


def test_relative_links_lead_somewhere():
    for document in (README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))):
        text = document.read_text()
        broken = [target for target in _LINK.findall(text) if not (document.parent / target).exists()]
        assert broken == [], document.name


def test_the_link_check_can_fail():
    assert _LINK.findall('[a](docs/x.md#part) [b](https://x.y) [c](#here) <img src="p.png">') == ["docs/x.md", "p.png"]


@pytest.mark.parametrize(
    "kinds",
    [
        # All commands hang on the demo of the first block, so they run as one test.
        pytest.param(("",), marks=pytest.mark.slow, id="cpu"),
        pytest.param(("", "slow"), marks=pytest.mark.slow, id="slow"),
        pytest.param(("", "gpu"), marks=pytest.mark.gpu, id="gpu"),
    ],
)
def test_the_commands_run(tmp_path, kinds):
    if "gpu" in kinds:
        from glow_deploy.engines.device import count_gpus

        if count_gpus() == 0:
            pytest.skip("no NVIDIA GPU or no driver was found")
    found = blocks(README.read_text())
    wanted = [block for block in found if block.marker in kinds]
    if not any(block.marker == kinds[-1] for block in found):
        pytest.skip(f"the README has no block marked {kinds[-1] or 'for the CPU'}")
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "fixtures").symlink_to(ROOT / "tests" / "fixtures")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    for block in wanted:
        for command in block.commands:
            if _LEFT_OUT.match(command):
                continue
            done = subprocess.run(
                ["bash", "-c", reduced(command)],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            assert done.returncode == 0, f"README.md line {block.line}: {command}\n{done.stdout}\n{done.stderr}"

"""Every message that names a command or an option names one that exists; and what it says to do, works."""

from __future__ import annotations

import ast
import dataclasses
import functools
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("glow_core", "glow_deploy", "cli") for path in (ROOT / folder).rglob("*.py"))

_COMMAND = re.compile(r"(?:(?<=`)|(?<=: )|(?<=run )|(?<=see )|(?<=with ))glow-deploy ([a-z]+)([^`;]*)")
_OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9_-]*")
# Attributes of SVG and HTML.
_MARKUP = {"class"}
_KEYWORD = re.compile(r"(?<![^\s(`'\"])([a-z][a-z0-9_]*)=(?=True|False|None|\"|\d|[\s,;:.)`'\"]|$)")
# Options of other programs.
_FOREIGN = {"--model-repository", "--extra-index-url", "--query-gpu", "--format", "--image_size", "--n_bits_x"}
_FOREIGN |= {"--directory", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel"}  # Python's server, and npm
# Chromium's
_FOREIGN |= {"--headless", "--disable-gpu", "--disable-extensions", "--disable-sync", "--no-first-run", "--no-sandbox"}
_FOREIGN |= {"--disable-background-networking", "--disable-component-update", "--host-resolver-rules"}
_FOREIGN |= {"--user-data-dir", "--remote-debugging-pipe"}
_PLACEHOLDER = "1"  # stands for what an f-string puts there


@dataclasses.dataclass(frozen=True)
class Message:
    """One string of the source that a user may read."""

    place: str
    text: str


def messages(path: Path, source: str) -> Iterator[Message]:
    """The strings of a file, f-strings with a placeholder for each value, docstrings left out."""
    tree = ast.parse(source)
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        text = None
        if isinstance(node, ast.JoinedStr):
            pieces = (part.value if isinstance(part, ast.Constant) else _PLACEHOLDER for part in node.values)
            text = "".join(map(str, pieces))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose | parts:
            text = node.value
        if text is not None:
            yield Message(f"{path.name}:{node.lineno}", text)


@functools.cache
def all_messages() -> list[Message]:
    return [message for path in SOURCES for message in messages(path.relative_to(ROOT), path.read_text())]


def commands_in(text: str) -> list[tuple[str, str]]:
    return [(name, rest) for name, rest in _COMMAND.findall(text)]


def check_command(name: str, rest: str) -> str | None:
    """What is wrong with a command as a message shows it, or None."""
    from glow_cli.catalogue import COMMANDS, load

    if name not in COMMANDS:
        return f"there is no command {name}"
    known = {option for item in load(name).params for option in (*item.opts, *item.secondary_opts)}
    unknown = [word for word in _OPTION.findall(rest) if word not in known]
    return f"{name} has no {', '.join(unknown)}" if unknown else None


@functools.cache
def every_option() -> set[str]:
    from glow_cli.catalogue import COMMANDS, load

    found = {"--version", "--help"}
    for name in COMMANDS:
        found |= {option for item in load(name).params for option in (*item.opts, *item.secondary_opts)}
    plugin = (ROOT / "glow_deploy" / "verify" / "pytest_plugin" / "plugin.py").read_text()
    return found | set(re.findall(r'"(--glow-[a-z-]+)"', plugin))


@functools.cache
def every_keyword() -> set[str]:
    """The names of all parameters and fields of the public functions and settings."""
    found: set[str] = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
                found |= {argument.arg for argument in (*node.args.args, *node.args.kwonlyargs)}
            elif isinstance(node, ast.ClassDef):
                found |= {
                    item.target.id
                    for item in node.body
                    if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name)
                }
    return found


def test_every_command_that_a_message_names_exists_with_its_options():
    shown = [(message, *command) for message in all_messages() for command in commands_in(message.text)]
    assert len(shown) > 20
    wrong = {
        f"{message.place}: {found}" for message, name, rest in shown if (found := check_command(name, rest)) is not None
    }
    assert wrong == set()


def test_every_option_that_a_message_names_exists():
    known = every_option() | _FOREIGN
    wrong = {
        f"{message.place}: {option}"
        for message in all_messages()
        for option in _OPTION.findall(message.text)
        if option not in known and not option.endswith(("-", "-" + _PLACEHOLDER))
    }
    assert wrong == set()


def test_every_keyword_that_a_message_names_exists():
    known = every_keyword()
    wrong = {
        f"{message.place}: {name}="
        for message in all_messages()
        if " " in message.text and "<" not in message.text and not message.text.startswith("glow-deploy ")
        for name in _KEYWORD.findall(message.text)
        if name not in known | _MARKUP
    }
    assert wrong == set()


def test_the_checks_can_fail():
    source = 'raise X(f"{a} is bad; run `glow-deploy frobnicate {a}`")\nY = "use --no-such-option or nothing=True"'
    assert {message.text for message in messages(Path("x.py"), source)} == {
        "1 is bad; run `glow-deploy frobnicate 1`",
        "use --no-such-option or nothing=True",
    }
    assert commands_in("1 is bad; run `glow-deploy frobnicate 1`") == [("frobnicate", " 1")]
    assert check_command("frobnicate", "") is not None
    assert check_command("compile", " BUNDLE --out x") is not None
    assert check_command("compile", " BUNDLE --flavor rtx") is None
    assert "--no-such-option" not in every_option()
    assert _KEYWORD.findall("use --no-such-option or nothing=True") == ["nothing"]
    assert "nothing" not in every_keyword()

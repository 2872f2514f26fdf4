"""Write docs/commands.md: what `--help` of every command says.

python scripts/write_commands.py
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from glow_cli.catalogue import COMMANDS, load

PAGE = Path(__file__).parents[1] / "docs" / "commands.md"
HEAD = """# Commands

What `glow-deploy COMMAND --help` says, in the order of `glow-deploy --help`. Exit codes: 0 done; 1 a model judged
unsound; 2 bad input, or a missing file, package or device; 70 a bug of ours; 130 Ctrl-C; 143 SIGTERM.

A command that writes pictures, latents or a table replaces the files of an earlier run, whole or not at all. What took
long to make is safe: `train`, `export`, `convert`, `compile`, `sign` and `demo` refuse to replace anything without
`--force`.
"""


def main() -> None:
    """Write the page."""
    PAGE.write_text(page())


def page() -> str:
    """Return the whole page as Markdown."""
    parts = [HEAD]
    panel = ""
    for name, entry in COMMANDS.items():
        if entry.panel != panel:
            panel = entry.panel
            parts.append(f"\n## {panel}\n")
        parts.append(section(name))
    return "".join(parts)


def section(name: str) -> str:
    """Return one command: its words, its options as a table, its examples."""
    command = load(name)
    entry = COMMANDS[name]
    rows = "".join(f"| {spelling(item)} | {cell(help_of(item))} |\n" for item in command.params if shown(item))
    examples = "\n".join(entry.examples)
    # The examples are run by the tests of the command line, on files that are there.
    return (
        f"\n### {name}\n\n{plain(command.help)}\n\n<!-- not run: shown and run as examples of --help -->\n"
        f"```sh\n{examples}\n```\n\n| argument or option | |\n| --- | --- |\n{rows}"
    )


def shown(item: Any) -> bool:
    """The help option is the same everywhere."""
    return item.name != "help" and not getattr(item, "hidden", False)


def spelling(item: Any) -> str:
    """`--out, -o FILE`, or the name of an argument."""
    metavar = item.metavar or ""
    if not item.opts or not item.opts[0].startswith("-"):
        return f"`{cell(metavar or item.name.upper())}`"
    names = ", ".join(f"`{option}`" for option in (*item.opts, *item.secondary_opts))
    return names + (f" `{cell(metavar)}`" if metavar else "")


def help_of(item: Any) -> str:
    """Its help, with the default where there is one to tell."""
    words = plain(getattr(item, "help", None) or "")
    default = item.default
    if default is None or isinstance(default, bool) or callable(default) or default == ():
        return words
    return f"{words} Default: `{default}`.".strip()


def plain(text: str | None) -> str:
    """Without the markup of terminals."""
    return (text or "").replace("[b]", "**").replace("[/b]", "**").strip()


def cell(text: str) -> str:
    """Fit for a table."""
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    main()

"""Nothing from a file reaches the terminal as a command to it."""

from __future__ import annotations

from glow_cli.common.console import Output
from glow_cli.common.terminal import plain_letters


def test_what_a_terminal_would_obey_becomes_a_question_mark():
    assert plain_letters("a\x1b[2J\x9b\u202e\rb\tc\n") == "a?[2J????b\tc\n".replace("????", "???")
    assert plain_letters("é 猫 \u00a0\U0001f600") == "é 猫 \u00a0\U0001f600"


def test_lines_and_tables_are_plain(capsys):
    from rich.table import Table

    output = Output()
    output.say("name\x1b]0;owned\x07 and\nerror: forged")
    output.say("\nown line")
    table = Table("a\x1bb")
    table.add_row("c\x1b[31md")
    output.show(table)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "\x07" not in shown
    assert shown.startswith("name?]0;owned and?error: forged\n\nown line\n")
    assert "c?[31md" in shown

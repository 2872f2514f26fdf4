"""Text from files in messages."""

from __future__ import annotations

from glow_deploy.printable import LONGEST_LINE, one_line, shown


def test_names_are_escaped_and_end():
    assert shown("level1/step01") == "level1/step01"
    assert shown("a\x1b[2J\nb\u202e\udcff") == r"a\x1b[2J\nb\u202e\udcff"
    assert len(shown("x" * 10**6)) < 80
    assert shown("x" * 60) == "x" * 60


def test_messages_are_one_line_and_keep_both_ends():
    assert one_line("a\n b\r\tc") == "a b c"
    assert one_line("é 猫") == "é 猫"
    long = one_line("begins" + "\x1b" * 10**6 + "ends")
    assert len(long) <= LONGEST_LINE + 10
    assert long.startswith("begins")
    assert long.endswith("ends")
    assert long.isprintable()

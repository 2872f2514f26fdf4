from __future__ import annotations

import io
import math

from rich.console import Console

from glow_deploy.verify.terminal.layout import figure, new_table, styled


def printed(what, width=40):
    stream = io.StringIO()
    Console(file=stream, width=width).print(what)
    return stream.getvalue()


def test_figures_are_to_the_right_and_never_broken():
    table = new_table("Errors", "A", "rms", "note")
    table.add_row("onnxruntime-cpu", "1.0e-06", "words that are too many for the width of the table")
    table.add_row("b", "9", "")
    lines = printed(table).splitlines()
    assert lines[1].strip() == "Errors"
    assert all(len(line) <= 40 for line in lines)
    row = next(line for line in lines if "onnxruntime-cpu" in line)
    assert "1.0e-06" in row
    assert next(line for line in lines if line.startswith("b")).index("9") == row.index("1.0e-06") + 6


def test_brackets_are_no_markup():
    assert printed(styled("[bold]x[/bold]", "red")).strip() == "[bold]x[/bold]"


def test_an_error_has_two_digits_or_is_none():
    assert [figure(value) for value in (0.000123, 0.0, 12345.0)] == ["1.2e-04", "0.0e+00", "1.2e+04"]
    assert [figure(value) for value in (math.nan, math.inf)] == ["none", "none"]

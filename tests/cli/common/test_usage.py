"""What the parser refuses, in our words."""

from __future__ import annotations

import pytest
from glow_cli.common.usage import is_usage_error, usage_message


class RefusedError(Exception):
    """Stands for the errors of any release of the parser."""

    exit_code = 2

    def format_message(self):
        return str(self.args[0])


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        (
            "Invalid value for '--levels': Input should be a valid integer, unable to parse string as an integer",
            "--levels: must be a whole number",
        ),
        ("Invalid value for '--levels': 'x' is not a valid integer.", "--levels: 'x' is not a whole number"),
        ("Invalid value for '--levels': Input should be greater than or equal to 1", "--levels: must be at least 1"),
        ("Invalid value for '--port': Input should be less than or equal to 65535", "--port: must be at most 65535"),
        ("Invalid value for '--x' / '-y': Input should be greater than 0", "--x / -y: must be more than 0"),
        (
            "Invalid value for '--coupling': Value error, 'nope' is not one of 'affine', 'additive'.",
            "--coupling: 'nope' is none of affine, additive",
        ),
        (
            "Invalid value for '--coupling': 'nope' is not one of 'affine', 'additive'.",
            "--coupling: 'nope' is none of affine, additive",
        ),
        ("Missing argument 'CKPT'.", "give CKPT"),
        ("Missing option '--out'.", "give --out"),
        ("Missing option '--out' / '-o'.", "give --out / -o"),
        ("Option '--batch' requires an argument.", "--batch needs a value"),
        ("Option '--force' does not take a value.", "--force takes no value"),
        ("Got unexpected extra argument (b)", "b: nothing more is expected here"),
        ("Got unexpected extra arguments (b c)", "b c: nothing more is expected here"),
        ("Got unexpected extra argument(s) (b c)", "b c: nothing more is expected here"),
        ("No such option: --nope", "there is no option --nope"),
        (
            "No such option: --bacth (Possible options: --batch, --x)",
            "there is no option --bacth; near it are --batch, --x",
        ),
        ("No such command 'nope'.", "there is no command nope"),
        (
            "No such command 'exprot'. Did you mean 'export', 'project'?",
            "there is no command exprot; near it are export, project",
        ),
        ("Something new.", "Something new"),
    ],
)
def test_every_refusal_of_the_parser_is_told_plainly(words, ours):
    assert usage_message(RefusedError(words), program="glow-deploy train") == f"{ours}; see `glow-deploy train --help`"


def test_errors_of_the_parser_are_told_from_others():
    assert is_usage_error(RefusedError("x"))
    assert not is_usage_error(ValueError("x"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nosuch"], "there is no command nosuch; see `glow-deploy --help`"),
        (["exprot"], "there is no command exprot; near it are export"),
        (["train", "--levels", "x"], "--levels: must be a whole number; see `glow-deploy train --help`"),
        (["train", "--levels", "0"], "--levels: must be at least 1"),
        (["train", "--coupling", "x"], "--coupling: 'x' is none of affine, additive"),
        (["export"], "give CKPT; see `glow-deploy export --help`"),
        (["export", "a", "b"], "b: nothing more is expected here"),
        (["sample", "--batch"], "--batch needs a value; see `glow-deploy sample --help`"),
        (["sample", "--bacth", "3"], "there is no option --bacth; near it are --batch"),
        (["--nope"], "there is no option --nope; see `glow-deploy --help`"),
    ],
)
def test_one_line_and_two_as_the_exit_code(arguments, words, invoke):
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {words}")


def test_help_and_version_stay_what_they_are(invoke):
    assert invoke("--version").stdout.startswith("glow-deploy ")
    assert invoke("sample", "--help").exit_code == 0
    assert "Usage" in invoke("--help").stdout

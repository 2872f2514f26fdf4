from __future__ import annotations

import pytest

from glow_deploy.spelling import on_command_line

OPTIONS = {
    name: "--" + name.replace("_", "-") for name in ("force", "out", "precision", "golden", "n_bits", "tf32", "seed")
}
OPTIONS["classes"] = "--class"


@pytest.mark.parametrize(
    ("python", "shell"),
    [
        (
            "x exists already; give force=True to replace it, or another out=",
            "x exists already; give --force to replace it, or another --out",
        ),
        ('precision="auto" finds them', "--precision auto finds them"),
        ("leave it out (golden=None).", "leave it out (--golden none)."),
        ("compile without tf32=True, or `tf32=False`", "compile without --tf32, or `--no-tf32`"),
        ("give classes=, one for each", "give --class, one for each"),
        ("n_bits=5: it was 8", "--n-bits 5: it was 8"),
        ("other=True is none of its options", "other=True is none of its options"),
        ("data/seed=0/a.png cannot be read", "data/seed=0/a.png cannot be read"),
        ("seed=0/a.png and out=3.png cannot be read", "seed=0/a.png and out=3.png cannot be read"),
        ("give {force=True}", "give {force=True}"),
    ],
)
def test_options_are_spelt_as_on_a_command_line(python, shell):
    assert on_command_line(python, OPTIONS) == shell

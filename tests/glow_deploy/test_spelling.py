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
        ("n_bits must be a whole number from 1 to 8, not 9", "--n-bits must be a whole number from 1 to 8, not 9"),
        ("each of seed must be 0 or more", "each of --seed must be 0 or more"),
        ("precision is 'x'; choose from fp32, auto", "--precision is 'x'; choose from fp32, auto"),
        ("seed is a folder, not a file", "seed is a folder, not a file"),
        ("other must be a number", "other must be a number"),
        ("this seed must be a number", "this seed must be a number"),
    ],
)
def test_options_are_spelt_as_on_a_command_line(python, shell):
    assert on_command_line(python, OPTIONS) == shell

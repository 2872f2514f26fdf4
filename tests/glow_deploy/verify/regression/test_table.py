from __future__ import annotations

import io

import pytest
from rich.console import Console

from glow_deploy.verify.regression import baseline_table


def printed(result, *, width):
    console = Console(file=io.StringIO(), width=width)
    console.print(baseline_table(result))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_table_fits_and_ends_with_the_verdict(against, width):
    text = printed(against(), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert text.rstrip().splitlines()[-1] == "baseline: pass"
    assert "FAIL" not in text


def test_rises_gaps_and_new_rows_are_all_named(against):
    def change(values):
        values["cells"][0]["x_z_x"]["rms"] = 1e-9
        del values["references"][0]
        values["batches"][0]["sizes"] = [2]

    def now(values):
        values["cells"][0]["x_z_x"]["rms"] = 1e-3
        del values["cells"][1]

    text = printed(against(change, now=now), width=400)
    for words in (
        "FAIL pytorch-fp64->pytorch-fp64[golden]: rms of x -> z -> x is 0.001 and was 1e-09",
        "FAIL pytorch-fp64->pytorch-fp32[golden]: was measured then, is not now",
        "new, not in the baseline: pytorch-fp64-vs-float64[golden]",
        "not compared: pytorch-fp64-batches[encoder]: other batch sizes",
        "baseline: fail",
    ):
        assert words in text


def test_brackets_in_names_are_no_markup(against):
    assert "[golden]" in printed(against(), width=200)


def test_nothing_compared_is_printed_as_such(against):
    text = printed(against(lambda v: v.update(cells=[], references=[], batches=[])), width=100)
    assert "baseline: nothing compared" in text

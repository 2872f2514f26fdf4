from __future__ import annotations

import io

import pytest

from glow_deploy.verify import report_tables
from glow_deploy.verify.terminal.answer import answer_line


def printed(report, *, width, **options):
    from rich.console import Console

    console = Console(file=io.StringIO(), width=width)
    console.print(report_tables(report, **options))
    return console.file.getvalue()


@pytest.mark.parametrize("width", [80, 120])
def test_the_answer_stands_above_the_tables_and_fits(report, spoilt, width):
    for found in (report, spoilt):
        text = printed(found, width=width)
        lines = text.splitlines()
        assert lines[0] == answer_line(found)
        assert max(map(len, lines)) <= width
        assert text.index("samples: ") < text.index("Backends")
        assert "Limits" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_figures_are_explained_once_under_the_first_of_their_tables(report, spoilt, width):
    text = " ".join(printed(report, width=width).split())
    assert text.count("rms: root mean square over all pixels; p99.9: 99.9 % of pixels err less") == 1
    assert "(<x): less than x of all such images is lost, with 95 % confidence" in text
    assert "x%: share of pixels" not in text
    assert text.index("Encode on A") < text.index("rms: root mean square") < text.index("Against the trained")
    partly = " ".join(printed(spoilt, width=width).split())
    assert "x%: share of pixels that come back" in partly


def test_absent_backends_are_named_with_their_reason(report):
    text = " ".join(printed(report, width=120).split())
    names = "pytorch-fp64, pytorch-fp32, onnxruntime-cuda, tensorrt, tensorrt-rtx, simulated"
    assert f"absent: {names}: not asked for" in text

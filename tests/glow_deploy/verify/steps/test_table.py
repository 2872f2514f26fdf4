"""The table for the terminal."""

from __future__ import annotations

import io

import pytest

from glow_deploy.verify.steps import StepsBackend, StepsReport, steps_table


def text_of(report, *, width=80):
    from rich.console import Console

    stream = io.StringIO()
    Console(file=stream, width=width).print(steps_table(report))
    return stream.getvalue()


def test_the_named_step_and_the_reason_are_shown_within_80_columns(case):
    name = "level2/step02/coupling/conv2/weight"
    model = case().change("encoder", lambda found, array: array * 1.02 if found == name else None)
    text = text_of(model.measure())
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert "look at level2/step02 of the encoder" in text
    assert "export the model again" in " ".join(text.split())
    assert "level2/step02" in [line.split()[0] for line in text.splitlines() if "encode " in line and "/" in line]
    assert text.count("▁") >= 1
    assert text.count("█") >= 1


def test_an_overflow_is_marked(case):
    model = case().change(
        "decoder", lambda found, array: array * 3e38 if found == "level1/step02/invconv/weight" else None
    )
    text = text_of(model.measure(golden=None))
    assert "!" in text
    assert "lost" in text


@pytest.mark.parametrize("width", [80, 120])
def test_absent_backends_say_why(width):
    report = StepsReport(
        images=1,
        backends=(StepsBackend(backend="tensorrt", reason="no NVIDIA GPU"),),
        weights=(),
        reference="",
        seconds=0.0,
    )
    assert "tensorrt left out: no NVIDIA GPU" in text_of(report, width=width)
    assert report.first_jump is None

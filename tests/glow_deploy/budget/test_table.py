from __future__ import annotations

from rich.console import Console

from glow_deploy.budget import PRECISIONS, budget_table, prediction_table


def printed(table, width=80):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(table)
    return console.export_text()


def test_the_table_fits_and_leaves_out_the_smallest_steps(report):
    text = printed(budget_table(report))
    assert all(len(line.rstrip()) <= 80 for line in text.splitlines())
    assert "…" not in text
    largest = sorted(report.steps, key=lambda step: step.share)[4:]
    shown = [line.split()[0] for line in text.splitlines() if line.strip().startswith("level")]
    assert shown == [step.step for step in report.steps if step in largest]
    assert "4 others" in text
    assert "others" not in printed(budget_table(report, rows=14))


def test_predictions_are_in_pixel_steps(report):
    text = printed(prediction_table(report, n_bits=8))
    assert [line.split()[0] for line in text.splitlines()[4:9]] == list(PRECISIONS)
    assert f"{report.predicted['tf32'].rms * 256:.1e}" in text

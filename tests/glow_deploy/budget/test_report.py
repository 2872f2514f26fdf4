"""The budget as JSON and as tables."""

import json

import pytest
from rich.console import Console

from glow_deploy.budget import PRECISIONS, budget_table, measure_budget, prediction_table


@pytest.fixture(scope="module")
def report(small_glow, graphs, images):
    return measure_budget(*graphs(small_glow(steps=7)), images(3, (3, 16, 16)))


def test_json_holds_plain_figures(report):
    data = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert data["images"] == 3
    assert data["gamma"] == report.gamma
    assert tuple(data["predicted_rms"]) == tuple(data["hit_share"]) == PRECISIONS
    assert [step["step"] for step in data["steps"]] == [
        f"level{level}/step{step:02d}" for level in (1, 2) for step in range(1, 8)
    ]
    keys = {"gain", "rms", "share", "kappa", "inverse_residual", "smallest_scale", "smallest_actnorm"}
    for step in data["steps"]:
        assert keys <= set(step)
        assert all(step[key] > 0.0 for key in keys)
    assert sum(step["share"] for step in data["steps"]) == pytest.approx(1.0)
    assert data["flags"] == []


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

"""The budget as JSON and as tables."""

from __future__ import annotations

import json

import pytest

from glow_deploy.budget import PRECISIONS


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

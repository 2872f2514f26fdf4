"""The comparison with a stored baseline; needs no GPU."""

from __future__ import annotations

import json

KEPT = {"golden: a -> b": {"rms": 1e-6, "p999": 1e-5}}


def test_growth_within_the_ratchet_passes(worse):
    assert worse({"golden: a -> b": {"rms": 1.4e-6, "p999": 1e-5}}, KEPT) == []
    assert worse({"golden: a -> b": {"rms": 1e-9, "p999": 0.0}, "new cell": {"rms": 1.0}}, KEPT) == []


def test_growth_beyond_it_fails_by_name(worse):
    assert worse({"golden: a -> b": {"rms": 1.6e-6, "p999": 1e-5}}, KEPT) == ["golden: a -> b: rms 1e-06 -> 1.6e-06"]
    assert len(worse({"golden: a -> b": {"rms": float("nan"), "p999": 1.0}}, KEPT)) == 2


def test_a_cell_that_is_no_longer_measured_fails(worse):
    assert worse({}, KEPT) == ["golden: a -> b: no longer measured"]


def test_without_a_baseline_of_this_gpu_and_model_there_is_nothing_to_compare_with(grown, tmp_path):
    path = tmp_path / "some-gpu.json"
    assert grown({}, path, "model") is None
    path.write_text(json.dumps({"model_id": "another model", "figures": KEPT}))
    assert grown({}, path, "model") is None
    path.write_text(json.dumps({"model_id": "model", "figures": KEPT}))
    assert grown(KEPT, path, "model") == []
    assert len(grown({}, path, "model")) == 1

from __future__ import annotations

import json
import math

import pytest

from glow_deploy.artifact.exported import ExportFigures, SelfCheckFigures

FIGURES = {"rms": 1e-6, "p999": 4e-6, "max": 9e-6}
ERRORS = {
    "n": 64,
    "non_finite": 0,
    "x_hat": FIGURES,
    "z": {"z1": FIGURES},
    "bits_per_dim": FIGURES,
    "zxz": {"z1": FIGURES},
}
STEP = {"step": "level1/step01", "number": "fp32", "gain": 2.0, "predicted": None, "share": 0.5, "reason": "too large"}
VALUES = {
    "yardstick": ERRORS,
    "self_check": {"backend": "onnxruntime-cpu", "batches": [1, 2], "max_error": {"x_hat": None}, "passed": True},
    "precision": {
        "plan": {"name": "auto"},
        "share_16_bit": 0.25,
        "measured_on": "simulation",
        "figures": {**ERRORS, "x_from_z": FIGURES},
        "exact_images": 60,
        "onnxruntime_cpu": None,
        "ranges": {
            "images": 4,
            "headroom_bits": {"level1/step01": None, "level1/step02": 3.5},
            "worst": {
                "name": "h",
                "number": "fp16",
                "largest": 5.0,
                "headroom_bits": 13.6,
                "subnormal_share": 0.0,
                "non_finite": 0,
            },
        },
        "choice": {
            "tolerance": 0.5,
            "n": 256,
            "bound": 0.0117,
            "confidence": 0.99,
            "share": 0.9,
            "simulations": 7,
            "tail": 0.1,
            "worst": None,
            "tail_margin": 3.0,
            "worst_margin": 1.5,
            "steps": [STEP, {**STEP, "step": "level1/step02", "number": "fp16", "reason": ""}],
        },
    },
    "problems": ["a", "b"],
    "notes": [],
}


def read(values):
    return ExportFigures.from_dict(values, levels=1)


def test_what_is_written_is_read_back():
    assert json.loads(json.dumps(read(VALUES).to_dict())) == VALUES
    for name in ("yardstick", "self_check", "precision"):
        values = {**VALUES, name: None}
        assert read(values).to_dict() == values


def test_null_keeps_its_meaning():
    found = read(VALUES)
    assert math.isnan(found.self_check.max_error["x_hat"])
    assert found.precision.ranges.headroom_bits["level1/step01"] == math.inf
    assert math.isnan(found.precision.choice.worst)
    assert [step.step for step in found.precision.choice.kept] == ["level1/step01"]
    written = SelfCheckFigures(backend="b", batches=(1,), max_error={"x_hat": math.inf}, passed=False).to_dict()
    assert written["max_error"] == {"x_hat": None}


def test_a_bundle_of_before_there_were_notes_and_precisions_is_read():
    found = read({"yardstick": ERRORS, "self_check": None})
    assert (found.precision, found.problems, found.notes) == (None, (), ())


def places(values, path=()):
    """Every key of nested objects."""
    for key, value in values.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


FREE = {  # may be absent, or hold anything
    ("self_check",),
    ("precision",),
    ("problems",),
    ("notes",),
    ("precision", "plan", "name"),
    ("self_check", "max_error", "x_hat"),
    ("precision", "ranges", "headroom_bits", "level1/step01"),
    ("precision", "ranges", "headroom_bits", "level1/step02"),
    ("precision", "choice", "confidence"),
    ("precision", "figures", "x_from_z"),
    ("precision", "figures", "non_finite"),
    ("yardstick", "non_finite"),
}


@pytest.mark.parametrize("path", sorted(set(places(VALUES)) - FREE), ids=".".join)
def test_what_is_missing_or_of_another_kind_is_told_by_its_place(path):
    place = ".".join(path).replace(".", r"\.")
    for bad in ("absent", ["wrong"], -1.5):
        values = json.loads(json.dumps(VALUES))
        table = values
        for key in path[:-1]:
            table = table[key]
        if bad == "absent":
            del table[path[-1]]
        elif bad == -1.5 and path[-1] in SIGNED:
            continue
        else:
            table[path[-1]] = bad
        with pytest.raises(ValueError, match=place):
            read(values)


# Numbers that are not checked for a sign.
SIGNED = {"headroom_bits", "largest", "share_16_bit", "subnormal_share", "tolerance", "bound", "share", "tail"}
SIGNED |= {"worst", "tail_margin", "worst_margin"}


@pytest.mark.parametrize("bad", [None, 3, "text", [1], {}])
def test_problems_and_notes_are_lists_of_text(bad):
    for name in ("problems", "notes"):
        with pytest.raises(ValueError, match=f"numerics.{name}"):
            read({**VALUES, name: bad})


def test_a_file_of_the_first_releases_has_no_confidence_and_no_digests():
    import copy

    older = copy.deepcopy(VALUES)
    del older["precision"]["choice"]["confidence"]
    found = read(older)
    assert found.precision.choice.confidence == 0.95
    assert found.weights is None
    assert "weights" not in found.to_dict()
    older["precision"]["choice"]["confidence"] = ["wrong"]
    with pytest.raises(ValueError, match=r"choice\.confidence"):
        read(older)


def test_digests_of_the_weights_are_read_back():
    digests = {"encoder": {"prior": "a" * 64}, "decoder": {"prior": "b" * 64}}
    assert read({**VALUES, "weights": digests}).to_dict()["weights"] == digests

from __future__ import annotations

import copy

import pytest

from glow_deploy.verify.pytest_plugin import judge

ROW = {"verdict": "pass", "gates": []}
ERROR = {"rms": 1e-6, "p999": 2e-6, "max": 3e-6, "non_finite": 0}
GATE = {"measure": "x", "statistic": "rms", "value": 3e-4, "limit": 1e-6, "derivation": "3 x 3e-7", "verdict": "fail"}
REPORT = {
    "command": "glow-deploy verify b",
    "verdicts": {"round_trip": "sound", "likelihood": "sound", "samples": "reported"},
    "notes": ["graphs in 16 bit"],
    "image_sets": [{"name": "golden", "n": 32}],
    "backends": [
        {"name": "a", "used": True, "decoder": {"provider": "p", "device": "cpu", "precision": "fp32", "tf32": False}},
        {"name": "b", "used": False, "reason": "no GPU is here"},
    ],
    "cells": [
        {
            **ROW,
            **{"encode": "a", "decode": "a", "images": "golden", "x_z_x": ERROR},
            "exact": {"images": 32, "images_exact": 32},
        }
    ],
    "references": [
        {
            **ROW,
            **{"backend": "a", "images": "golden", "z": {"z1": ERROR}},
            **{"bits_per_dim_centre": ERROR, "x_from_reference_z": ERROR},
        }
    ],
    "batches": [{**ROW, "backend": "a", "role": "encoder", "split": {"z1": ERROR}, "sizes": [1, 3]}],
    "failures": [],
}
BASELINE = {
    "file": "base.json",
    "verdict": "pass",
    "factor": 2.0,
    "compared": 1,
    "rows": ["row"],
    "rises": [],
    "missing": [],
    "not_compared": [],
    "changes": ["another machine"],
}


@pytest.fixture
def report():
    return copy.deepcopy({**REPORT, "baseline": BASELINE})


def cell(report, *, asked=(), encode="a", decode="a"):
    return judge.cell(report, encode=encode, decode=decode, images="golden", asked=asked)


LOOKS = {
    "cells": cell,
    "references": lambda report: judge.reference(report, backend="a", images="golden", asked=()),
    "batches": lambda report: judge.batches(report, backend="a", role="encoder", asked=()),
}


@pytest.mark.parametrize("part", LOOKS)
def test_a_row_is_what_its_verdict_says_and_one_that_is_gone_is_no_pass(report, part):
    passed = LOOKS[part](report)
    assert passed.verdict == "pass"
    assert 1e-6 in passed.figures.values()
    report[part][0]["verdict"] = "reported"
    assert LOOKS[part](report).verdict == "skip"
    report[part][0] |= {"verdict": "fail", "gates": [GATE, {**GATE, "verdict": "pass"}]}
    failed = LOOKS[part](report)
    assert failed.verdict == "fail"
    assert "1 of 2 gates missed\n  x, rms: 0.0003, limit 1e-06 (3 x 3e-7)" in failed.text
    report[part] = []
    lost = LOOKS[part](report)
    assert lost.verdict == "fail"
    assert lost.text.endswith("a ran, but this was not measured, and that is no pass")


def test_a_failure_comes_with_the_causes_of_its_own_cell_once_each(report):
    report["cells"][0] |= {"verdict": "fail", "gates": [GATE]}
    mine = {"images": "golden", "where": "encode a -> decode a, x", "cause": "the decoder"}
    others = [{**mine, "images": "data", "cause": "no"}, {**mine, "where": "encode a -> decode ab, x", "cause": "no"}]
    report["failures"] = [mine, mine, *others]
    assert [line for line in cell(report).text.splitlines() if line.startswith("cause")] == ["cause: the decoder"]


def test_a_figure_that_is_no_number_and_a_rate_are_spelt_out(report):
    gates = [{**GATE, "value": None}, {**GATE, "statistic": "rate", "value": 0.5, "limit": 1.0}]
    report["cells"][0] |= {"verdict": "fail", "gates": gates}
    text = cell(report).text
    assert "x, rms: not a number, limit 1e-06" in text
    assert "x, rate: 50.0000%, due 100%" in text


def test_an_absent_backend_is_skipped_unless_it_was_asked_for(report):
    found = cell(report, decode="b")
    assert (found.verdict, found.text) == ("skip", "b did not run: no GPU is here")
    found = cell(report, decode="b", asked=["b"])
    assert (found.verdict, found.text) == ("fail", "b was asked for and did not run: no GPU is here")
    found = cell(report, decode="c", asked=["c"])
    assert (found.verdict, found.text) == ("fail", "c was asked for and did not run: this release does not know it")


def test_a_backend_that_nobody_foresaw_is_no_pass(report):
    assert judge.backend(report, name="a", asked=(), foreseen=["a"]).verdict == "pass"
    found = judge.backend(report, name="a", asked=(), foreseen=[])
    assert found.verdict == "fail"
    assert "its figures have no tests" in found.text
    assert judge.backend(report, name="b", asked=(), foreseen=[]).verdict == "skip"


def test_verdicts(report):
    assert judge.verdict(report, name="round_trip").verdict == "pass"
    found = judge.verdict(report, name="samples")
    assert (found.verdict, found.text) == ("skip", "samples: reported, not gated: graphs in 16 bit")
    report["verdicts"]["round_trip"] = "unsound"
    report["failures"] = [{"verdict": "round_trip", "text": "x"}, {"verdict": "likelihood", "text": "y"}]
    found = judge.verdict(report, name="round_trip")
    assert found.verdict == "fail"
    assert found.text.splitlines() == ["round trip: unsound", "x", "repeat: glow-deploy verify b"]
    assert judge.verdict(report, name="gone").verdict == "fail"
    report["cells"] = []
    assert judge.verdict(report, name="likelihood").text == "likelihood: nothing was examined"


def test_a_row_of_the_baseline(report):
    base = report["baseline"]
    assert judge.baseline_row(report, row="row").verdict == "pass"
    assert judge.baseline_row(report, row="other").verdict == "fail"
    base["not_compared"] = [{"row": "row", "reason": "other images"}]
    found = judge.baseline_row(report, row="row")
    assert (found.verdict, found.text) == ("skip", "not compared: other images")
    base["rises"] = [{"row": "row", "text": "rms rose"}, {"row": "other", "text": "no"}]
    found = judge.baseline_row(report, row="row")
    assert found.verdict == "fail"
    assert found.text.splitlines() == ["baseline base.json", "rms rose", "changed since: another machine"]


def test_a_baseline_that_compared_nothing_is_no_pass(report):
    assert judge.baseline_verdict(report).figures == {"rows compared": 1, "factor": 2.0}
    report["baseline"] |= {"verdict": "nothing compared", "not_compared": [{"row": "row", "reason": "other images"}]}
    found = judge.baseline_verdict(report)
    assert found.verdict == "fail"
    assert found.text.splitlines() == ["baseline base.json: nothing compared", "row: other images"]


def test_long_texts_are_cut(report):
    report["cells"][0] |= {"verdict": "fail", "gates": [GATE] * 30}
    lines = cell(report).text.splitlines()
    assert len(lines) == 13
    assert lines[-1] == "... and 19 lines more: see --glow-json"

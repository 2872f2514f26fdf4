"""The structure of the page, without a browser."""

from __future__ import annotations

import re

from report_pages import Page, nulled

from glow_deploy.verify.html import render_report

MINIMAL = {
    "schema": "glow_deploy.verify",
    "verdicts": {"round_trip": "unsound", "likelihood": "sound", "samples": "reported"},
}


def test_every_chart_has_a_title_and_a_description(full):
    charts = [a for a in full.named("svg") if a.get("class") == "chart"]
    assert len(charts) >= 15
    assert all(a["role"] == "img" and len(a["aria-labelledby"].split()) == 2 for a in charts)
    assert len(full.named("desc")) == len(charts)


def test_every_figure_has_a_command(full):
    assert len(full.figures) > 20
    for figure in full.figures:
        assert ("pre", {"class": "command", "tabindex": "0"}) in figure
    assert "--json report.json" in full.text


def test_pictures_and_tables_have_words(full):
    assert all(image["alt"] for image in full.named("img"))
    assert all(a["aria-label"] for _, a in full.tags if a.get("role") == "region")


def test_a_minimal_report_says_what_was_not_measured():
    page = Page(render_report(MINIMAL))
    assert "Not measured: add --steps." in page.text
    assert "Not measured: add --stress." in page.text
    assert "No pair of backends was measured." in page.text
    assert page.text.count("add --steps") == 2
    assert "baseline" not in page.text
    assert not page.named("figure")
    assert page.text.count("unsound") >= 2


def test_what_was_measured_is_not_called_unmeasured(full):
    assert "Not measured" not in full.text


def test_what_is_not_finite_is_never_printed_as_a_python_value(make_report, all_backends):
    report = nulled(make_report(all_backends[:3], failing=True))
    text = Page(render_report(report)).text
    assert not re.search(r"\b(nan|inf|None|True|False)\b", text)
    assert "none" in text


def test_suggestions_and_flags_are_shown(make_report):
    text = Page(render_report(make_report(failing=True))).text
    assert "What would help: train with --inverse-penalty" in text
    assert "level1/step02: kappa 4.1e3 is beyond 1e3" in text


def test_what_names_a_weight_comes_first_and_no_other_advice_is_given(make_report):
    report = make_report(failing=True)
    place = "level1/step02"
    finding = {
        "check": "graphs with the export",
        "files": ["decoder.onnx"],
        "part": place,
        "arrays": 1,
        "detail": "its weights are not those that were exported",
        "advice": "export the model again",
        "level": 1,
    }
    report["weights"]["findings"] = [finding]
    report["verdicts"]["weights"] = report["weights"]["verdict"] = "unsound"
    gate = {"measure": "weights that are wrong", "statistic": "count", "value": 1, "limit": 0, "verdict": "fail"}
    report["failures"].append(
        {
            "verdict": "weights",
            "where": f"decoder.onnx, {place}",
            "images": "",
            "level": 1,
            "gate": gate,
            "cause": "its weights are not those that were exported; export the model again",
            "text": f"decoder.onnx, {place}, level 1: 1 weights that are wrong",
        }
    )
    text = Page(render_report(report)).text
    failed = text[text.index("What failed") :]
    assert failed.index(f"decoder.onnx, {place}") < failed.index("values overflow")
    assert "No step stands out" not in text
    assert "--steps names the first step" not in text
    assert f"Look at the weights that are wrong first: decoder.onnx, {place}" in text
    assert "What the graphs hold" in text


def test_a_report_of_a_release_that_compared_no_weights(make_report):
    report = make_report()
    del report["weights"], report["verdicts"]["weights"]
    text = Page(render_report(report)).text
    assert "The graphs' weights were not compared." in text
    assert "What the graphs hold" not in text


def test_a_pair_that_is_not_judged_is_no_failure(make_report):
    report = make_report()
    cell = report["cells"][0]
    cell["verdict"] = "not judged"
    cell["gates"][0].update({"verdict": "fail", "value": 1.0})
    text = Page(render_report(report)).text
    assert "not judged" in text
    assert "What failed" not in text

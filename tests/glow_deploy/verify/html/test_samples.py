from __future__ import annotations

from report_pages import Page

from glow_deploy.verify.html import render_report


def test_graphs_that_only_promise_to_decode_are_reported_not_passed(make_report):
    report = make_report(full=False)
    (cell,) = report["cells"]
    cell["gates"], cell["verdict"] = [], "reported"
    report["verdicts"] = {"round_trip": "reported", "likelihood": "reported", "samples": "sound"}
    page = Page(render_report(report))
    assert "Not held to a limit: encode onnxruntime-cpu, decode onnxruntime-cpu" in page.text
    assert [a for a in page.named("b")] == [{"class": "reported"}]
    assert "not held to a limit" in page.text
    cell["verdict"] = "fail"  # no gates and not reported: a missing measure is no pass
    assert Page(render_report(report)).named("b") == [{"class": "fail"}]

from __future__ import annotations

from glow_deploy.verify.html import render_report


def test_histograms_may_come_with_the_report_or_beside_it(make_report):
    report = make_report(full=False)
    inside = render_report(report)
    histogram = report["cells"][0].pop("histogram")
    assert "no histogram was kept" in render_report(report)
    key = ("golden", "onnxruntime-cpu", "onnxruntime-cpu")
    assert render_report(report, histograms={key: histogram}) == inside

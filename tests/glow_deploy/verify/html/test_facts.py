from __future__ import annotations

from report_pages import Page

from glow_deploy.verify.html import render_report


def test_a_detected_tf32_stands_out(make_report):
    page = Page(render_report(make_report(("onnxruntime-cpu", "onnxruntime-cuda"))))
    assert page.text.count("TF32!") == 1
    assert page.text.count("float32 (measured)") == 1
    assert page.named("td").count({"class": "fail"}) == 1
